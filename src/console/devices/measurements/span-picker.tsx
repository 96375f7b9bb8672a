import { ActionIcon, Button, Group, SegmentedControl, Text, Tooltip } from "@mantine/core";
import { IconChevronLeft, IconChevronRight, IconZoomIn, IconZoomOut } from "@tabler/icons-react";
import { type DeviceSearch, deviceRanges } from "../../addresses/device-search.ts";
import { defaultRange, type Span, shortestSpanMs } from "./span.ts";

interface SpanPickerProps {
  readonly span: Span;
  readonly search: DeviceSearch;
  readonly onChange: (search: DeviceSearch) => void;
}

/** Chooses the span of time: up to now, or any other by steps and zoom. */
export function SpanPicker({ span, search, onChange }: SpanPickerProps) {
  const { from: _, to: __, range: ___, ...rest } = search;
  const length = span.endMs - span.startMs;
  const show = (startMs: number, endMs: number) =>
    onChange({ ...rest, from: Math.round(startMs), to: Math.round(endMs) });
  return (
    <Group gap="xs">
      <SegmentedControl
        size="xs"
        aria-label="Time"
        value={span.isLive ? (search.range ?? defaultRange) : ""}
        data={deviceRanges.map((value) => ({ value, label: value }))}
        onChange={(value) => {
          const range = deviceRanges.find((each) => each === value);
          onChange(range === undefined || range === defaultRange ? rest : { ...rest, range });
        }}
      />
      <Group gap={4}>
        <Step label="Earlier" onClick={() => show(span.startMs - length / 2, span.endMs - length / 2)}>
          <IconChevronLeft size={16} aria-hidden />
        </Step>
        <Step
          label="Later"
          disabled={span.isLive}
          onClick={() => show(span.startMs + length / 2, span.endMs + length / 2)}
        >
          <IconChevronRight size={16} aria-hidden />
        </Step>
        <Step
          label="Zoom in"
          disabled={length / 2 < shortestSpanMs}
          onClick={() => show(span.startMs + length / 4, span.endMs - length / 4)}
        >
          <IconZoomIn size={16} aria-hidden />
        </Step>
        <Step label="Zoom out" onClick={() => show(span.startMs - length / 2, span.endMs + length / 2)}>
          <IconZoomOut size={16} aria-hidden />
        </Step>
      </Group>
      {!span.isLive && (
        <>
          <Text size="xs" c="dimmed" className="numbers">
            {dateTime.formatRange(span.startMs, span.endMs)}
          </Text>
          <Button size="compact-xs" variant="default" onClick={() => onChange(rest)}>
            Back to now
          </Button>
        </>
      )}
    </Group>
  );
}

interface StepProps {
  readonly label: string;
  readonly disabled?: boolean;
  readonly onClick: () => void;
  readonly children: React.ReactNode;
}

function Step({ label, disabled = false, onClick, children }: StepProps) {
  return (
    <Tooltip label={label} withArrow>
      <ActionIcon variant="default" size="md" aria-label={label} disabled={disabled} onClick={onClick}>
        {children}
      </ActionIcon>
    </Tooltip>
  );
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
