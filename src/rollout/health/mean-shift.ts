/**
 * Whether a reading (processor load, memory, battery drain) rose with the update: a mixture sequential probability ratio
 * test on differences of differences. Valid however often it is looked at: Robbins, "Statistical methods related to the
 * law of the iterated logarithm" (Ann. Math. Statist. 41, 1970); Johari, Koomen, Pekelis and Walsh, "Always valid
 * inference" (Operations Research 70, 2022).
 *
 * Each updated device is held against itself: its mean after the update less its mean before. From that the same change of
 * devices of its model that stayed, over the same hours, is taken away. What is typical for a device, a model or an hour
 * of the day thus cancels out.
 */

/** How much devices of one model changed over the same two spans of time. */
export interface Changes {
  readonly updated: readonly number[];
  readonly control: readonly number[];
}

/** What one comparison adds to the evidence. */
export interface Shift {
  /** The shift times its information. */
  readonly score: number;
  /** One over the shift's variance. */
  readonly information: number;
  readonly updatedSum: number;
  readonly controlSum: number;
}

/** Fewer devices that stayed give no usable spread. */
export const minControlDevices = 20;

/**
 * The shift of one group, or undefined if it cannot be told. The spread is that of the devices that stayed, which the
 * update did not touch. Changes beyond four spreads from their middle count as four, so that one broken sensor decides
 * nothing; `leastSpread` keeps a fleet of idle machines from making every trifle significant.
 */
export function shiftOf({ updated, control }: Changes, leastSpread: number): Shift | undefined {
  if (updated.length === 0 || control.length < minControlDevices) return undefined;
  const middle = median(control);
  const spread = Math.max(leastSpread, medianSpread(control, middle));
  const clipped = (values: readonly number[]) =>
    values.map((value) => Math.min(Math.max(value - middle, -clip * spread), clip * spread));
  const [ours, theirs] = [clipped(updated), clipped(control)];
  const [ourMean, theirMean] = [mean(ours), mean(theirs)];
  const variance = Math.max(spread ** 2, sampleVariance(theirs, theirMean));
  const information = 1 / (variance * (1 / ours.length + 1 / theirs.length));
  return {
    score: information * (ourMean - theirMean),
    information,
    updatedSum: sum(updated),
    controlSum: sum(control),
  };
}

/**
 * The evidence for a rise: the likelihood ratio against "no rise", averaged over rises drawn from the positive half of a
 * normal distribution whose spread is `noticeable`, the rise that counts.
 */
export function evidenceOfRise(score: number, information: number, noticeable: number): number {
  const spread = noticeable ** 2;
  const scale = 1 + information * spread;
  const at = (score * noticeable) / Math.sqrt(scale);
  return (2 / Math.sqrt(scale)) * Math.exp(Math.min(at ** 2 / 2, maxExponent)) * normalBelow(at);
}

/** The evidence against a rise of `noticeable` or more, in favour of none. */
export function evidenceAgainstRise(score: number, information: number, noticeable: number): number {
  const logRatio = noticeable * score - (noticeable ** 2 * information) / 2;
  return Math.exp(Math.min(-logRatio, maxExponent));
}

const clip = 4;

/** Beyond this evidence is beyond doubt, and doubles overflow. */
const maxExponent = 700;

/** Of a normal distribution the median absolute deviation is this part of the standard deviation. */
const deviationShare = 0.6745;

function medianSpread(values: readonly number[], middle: number): number {
  return median(values.map((value) => Math.abs(value - middle))) / deviationShare;
}

function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? upper)) / 2;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function sampleVariance(values: readonly number[], around: number): number {
  return sum(values.map((value) => (value - around) ** 2)) / (values.length - 1);
}

/** The standard normal distribution function, to 7 digits (Abramowitz and Stegun 26.2.17). */
function normalBelow(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const tail =
    (Math.exp(-(x ** 2) / 2) / Math.sqrt(2 * Math.PI)) *
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return x >= 0 ? 1 - tail : tail;
}
