/** Where a series is read from. */
export type SeriesSource = "heartbeats" | "5m" | "1h";

/** What a series asks for, and what there is. Times in milliseconds since 1970. */
export interface SeriesQuestion {
  readonly fromMs: number;
  /** After `fromMs`. */
  readonly toMs: number;
  readonly maxPoints: number;
  /** Only the heartbeats know what is asked for. */
  readonly onlyHeartbeats?: boolean;
  /** By how much the wall clock that days are counted by is ahead of UTC, where the span begins and ends; by default 0. */
  readonly aheadMs?: { readonly from: number; readonly to: number };
  /** The oldest time that each source keeps. */
  readonly keptFromMs: { readonly heartbeats: number; readonly "5m": number };
}

/** How a series is read. */
export interface SeriesPlan {
  readonly source: SeriesSource;
  /** Points lie on multiples of this since 1970. */
  readonly widthMs: number;
}

/**
 * Chooses the width of a series' points, the finest of a list of round ones with which there are no more than asked for, and
 * the coarsest source that has such points. What is too old for a source is read from the next one.
 */
export function planSeries(question: SeriesQuestion): SeriesPlan {
  const fine = widthFor(question, 0);
  if (question.onlyHeartbeats === true) return { source: "heartbeats", widthMs: fine };
  if (fine < fiveMinutesMs && question.fromMs >= question.keptFromMs.heartbeats)
    return { source: "heartbeats", widthMs: fine };
  const medium = Math.max(fine, widthFor(question, fiveMinutesMs));
  if ((medium < oneHourMs || !hasWholeHours(question)) && question.fromMs >= question.keptFromMs["5m"])
    return { source: "5m", widthMs: medium };
  return { source: "1h", widthMs: widthFor(question, oneHourMs) };
}

/** A part of a series' time, read from one source. */
export interface SeriesSegment {
  readonly source: SeriesSource;
  readonly fromMs: number;
  readonly toMs: number;
}

/** From when to before when a series reaches, in milliseconds since 1970. */
export type SeriesSpan = Pick<SeriesQuestion, "fromMs" | "toMs">;

/** The begin of the bucket of a roll-up that holds a time. */
export function startOfBucket(source: Exclude<SeriesSource, "heartbeats">, timeMs: number): number {
  const bucketMs = bucketsMs[source];
  return Math.floor(timeMs / bucketMs) * bucketMs;
}

/** Splits a series' time into what is rolled up and the newest part that is not yet. */
export function segmentsOf(
  plan: SeriesPlan,
  span: SeriesSpan,
  rolledUpTo: Readonly<Record<"5m" | "1h", number>>,
): SeriesSegment[] {
  const segments: SeriesSegment[] = [];
  let fromMs = span.fromMs;
  const take = (source: SeriesSource, untilMs: number) => {
    const toMs = Math.min(untilMs, span.toMs);
    if (toMs <= fromMs) return;
    segments.push({ source, fromMs, toMs });
    fromMs = toMs;
  };
  if (plan.source === "1h") take("1h", rolledUpTo["1h"]);
  if (plan.source !== "heartbeats") take("5m", rolledUpTo["5m"]);
  take("heartbeats", Number.POSITIVE_INFINITY);
  return segments;
}

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const fiveMinutesMs = 5 * minuteMs;
const oneHourMs = 60 * minuteMs;

/** A point of this width or more begins at midnight on the wall clock. */
export const dayMs = 24 * oneHourMs;

const noneAhead = { from: 0, to: 0 };

/** How much time a roll-up holds. */
export const bucketsMs = { "5m": fiveMinutesMs, "1h": oneHourMs };

/** Each from five minutes on is a multiple of five minutes, each from an hour on a multiple of an hour. */
const widthsMs = [
  ...[1, 2, 5, 10, 30].map((seconds) => seconds * secondMs),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * minuteMs),
  ...[1, 2, 3, 6, 12].map((hours) => hours * oneHourMs),
  ...[1, 7].map((days) => days * dayMs),
];

/** Whether the wall clock's midnight lies between two roll-ups of an hour, and not within one. */
function hasWholeHours({ aheadMs }: SeriesQuestion): boolean {
  return aheadMs === undefined || (aheadMs.from % oneHourMs === 0 && aheadMs.to % oneHourMs === 0);
}

function widthFor(question: SeriesQuestion, atLeastMs: number): number {
  const { fromMs, toMs, maxPoints, aheadMs = noneAhead } = question;
  const fits = (widthMs: number) => {
    const ahead = widthMs < dayMs ? noneAhead : aheadMs;
    const [first, last] = [(fromMs + ahead.from) / widthMs, (toMs + ahead.to) / widthMs];
    return Math.ceil(last) - Math.floor(first) <= maxPoints;
  };
  const width = widthsMs.find((widthMs) => widthMs >= atLeastMs && fits(widthMs));
  if (width !== undefined) return width;
  // Whole days, one bucket fewer than allowed, because the span may begin and end within a bucket.
  return Math.ceil((toMs - fromMs) / Math.max(1, maxPoints - 1) / dayMs) * dayMs;
}
