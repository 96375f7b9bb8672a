import { textFault } from "../call/text-fault.ts";
import type { FieldViolation } from "../errors.ts";

/** Checks of single values of a heartbeat: each says what is wrong with the value of a field, or undefined if it is well. */

/** What a float of the contract can hold; beyond it a column of type real refuses the row. */
export const maxFloat = 3.402_823e38;

/** A number within its range; NaN lies in none. */
export function rangeViolation(
  field: string,
  value: number | undefined,
  least: number,
  most: number,
): FieldViolation | undefined {
  // Written so that NaN fails.
  if (value === undefined || (value >= least && value <= most)) return undefined;
  const description =
    most === maxFloat
      ? `must be a finite number${least === 0 ? " of 0 or more" : ""}`
      : `must be from ${least} to ${most}`;
  return { field, description };
}

/** A whole number that JavaScript can hold. */
export function countViolation(field: string, value: number): FieldViolation | undefined {
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) return undefined;
  return { field, description: "must be 0 or more and below 2^53" };
}

/** A text of so many characters that PostgreSQL can hold. */
export function textViolation(
  field: string,
  text: string,
  maxCharacters: number,
): FieldViolation | undefined {
  // Code points are counted only where the cheap count of UTF-16 units does not settle it.
  if (text.length > maxCharacters && countCodePoints(text) > maxCharacters) {
    return { field, description: `must have at most ${maxCharacters} characters` };
  }
  const description = textFault(text);
  return description === undefined ? undefined : { field, description };
}

/** What of a text can be kept: its first characters, with U+FFFD for what is no character. */
export function storableText(text: string, maxCharacters: number): string {
  let length = 0;
  let count = 0;
  for (const character of text) {
    if (++count > maxCharacters) break;
    length += character.length;
  }
  return text.slice(0, length).replaceAll("\0", "\ufffd").toWellFormed();
}

/** One of the words. */
export function choiceViolation(
  field: string,
  word: string,
  words: readonly string[],
): FieldViolation | undefined {
  return words.includes(word) ? undefined : { field, description: `must be one of ${words.join(", ")}` };
}

/** A time of the device's own clock: clocks that were never set say 1970 or the firmware's build year; neither is a time. */
export function deviceTimeViolation(
  time: Date | undefined,
  nowMs: number,
  field: string,
): FieldViolation | undefined {
  if (time === undefined) return undefined;
  const ms = time.getTime();
  if (ms >= earliestDeviceTimeMs && ms <= nowMs + maxClockAheadMs) return undefined;
  return { field, description: "must lie between 2000-01-01 and one day from now" };
}

const earliestDeviceTimeMs = Date.UTC(2000, 0, 1);
const maxClockAheadMs = 24 * 60 * 60 * 1_000;

function countCodePoints(text: string): number {
  let count = 0;
  for (const _character of text) count++;
  return count;
}
