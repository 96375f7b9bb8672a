import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Tooltip } from "@mantine/core";
import { useNow } from "./use-now.ts";

interface TimeProps {
  readonly at: Timestamp | undefined;
  /** What stands where there is no time. */
  readonly none?: string;
}

/** A moment in the reader's zone, with UTC in a tooltip. */
export function Time({ at, none = "—" }: TimeProps) {
  if (at === undefined) return none;
  const date = timestampDate(at);
  return <Moment date={date} text={dateTime.format(date)} />;
}

/** How long ago a moment was (or is ahead), kept up to date; the exact times in a tooltip. */
export function TimeAgo({ at, none = "—" }: TimeProps) {
  const now = useNow(10_000);
  if (at === undefined) return none;
  const date = timestampDate(at);
  return <Moment date={date} text={relativeTime(date, now)} />;
}

/** `3 min ago`, `in 2 h`. */
export function relativeTime(date: Date, now: Date): string {
  const seconds = (date.getTime() - now.getTime()) / 1_000;
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  for (const [unit, length] of units) {
    if (size >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(Math.round(seconds), "second");
}

function Moment({ date, text }: { readonly date: Date; readonly text: string }) {
  const label = `${exact.format(date)} · ${date.toISOString()}`;
  return (
    <Tooltip label={label} withArrow>
      <time dateTime={date.toISOString()} className="numbers" style={{ whiteSpace: "nowrap" }}>
        {text}
      </time>
    </Tooltip>
  );
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

const units = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
] as const;
