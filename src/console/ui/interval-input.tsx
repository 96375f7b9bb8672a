import { NumberInput } from "@mantine/core";

interface IntervalInputProps {
  readonly label: string;
  readonly description?: string;
  /** In milliseconds; undefined while nobody says. */
  readonly value: number | undefined;
  readonly onChange: (value: number | undefined) => void;
}

/** How often something is expected, in minutes: empty, or from a second to 30 days. */
export function IntervalInput({ label, description, value, onChange }: IntervalInputProps) {
  return (
    <NumberInput
      label={label}
      {...(description === undefined ? {} : { description })}
      placeholder="not said"
      suffix=" min"
      thousandSeparator=","
      min={leastMs / minuteMs}
      max={mostMs / minuteMs}
      clampBehavior="blur"
      value={value === undefined ? "" : value / minuteMs}
      onChange={(minutes) => onChange(minutes === "" ? undefined : Math.round(Number(minutes) * minuteMs))}
    />
  );
}

const minuteMs = 60_000;

const leastMs = 1_000;

const mostMs = 30 * 24 * 60 * minuteMs;
