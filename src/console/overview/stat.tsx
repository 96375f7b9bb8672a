import { Card, Text } from "@mantine/core";
import { count, percent } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { type Tone, toneColor } from "../ui/status.tsx";

interface StatProps {
  readonly label: string;
  readonly tone: Tone;
  readonly value: bigint | number;
  /** The whole that it is a part of. */
  readonly of?: number;
  /** The filter of the devices behind it. */
  readonly filter?: string;
}

/** One figure, with the way to what is behind it. */
export function Stat({ label, tone, value, of, filter }: StatProps) {
  const figure = (
    <Text span fw={600} fz={26} lh={1.1} className="numbers">
      {count(value)}
    </Text>
  );
  return (
    <Card withBorder padding="sm" style={{ borderTop: `3px solid ${toneColor(tone)}` }}>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <div>
        {filter === undefined || Number(value) === 0 ? (
          figure
        ) : (
          <Link
            to="/devices"
            search={{ filter }}
            c="inherit"
            aria-label={`${count(value)} ${label}: show these devices`}
          >
            {figure}
          </Link>
        )}
      </div>
      <Text size="xs" c="dimmed" className="numbers" mih={18}>
        {of !== undefined &&
          of > 0 &&
          `${percent(Math.round((1_000 * Number(value)) / of) / 10)} of ${count(of)}`}
      </Text>
    </Card>
  );
}
