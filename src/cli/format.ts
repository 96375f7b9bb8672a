import { stripVTControlCharacters } from "node:util";
import type { DescEnum } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

/**
 * Makes text that came from a device or another person safe to print: escape sequences and control characters cannot move
 * the cursor, change the title or fake a line, and directional overrides cannot reorder what is read.
 */
export function cleanText(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll(/[\t\n\r\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll(/[\p{Cc}\p{Cf}]/gu, "");
}

/** The name of an enum's value in words, for example `rolling back`; the number if this version does not know it. */
export function enumText(schema: DescEnum, value: number): string {
  const known = schema.value[value];
  if (known === undefined) return String(value);
  return known.localName.toLowerCase().replaceAll("_", " ");
}

/** `2026-07-01 12:00:05Z`, or `-` if it is unset. */
export function timeText(time: Timestamp | undefined): string {
  if (time === undefined) return "-";
  return timestampDate(time)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "Z");
}

/** How long ago, or in how long: `5 s ago`, `in 2 h`; `-` if it is unset. */
export function agoText(time: Timestamp | undefined, nowMs: number): string {
  if (time === undefined) return "-";
  const ms = nowMs - timestampDate(time).getTime();
  if (Math.abs(ms) < 1000) return "now";
  return ms > 0 ? `${roughDuration(ms)} ago` : `in ${roughDuration(-ms)}`;
}

/** `2.5 s`, `5 min`, `1 h 30 min`, `2 d`; `-` if it is unset. */
export function durationText(duration: Duration | undefined): string {
  return duration === undefined ? "-" : durationMsText(durationMs(duration));
}

/** As {@link durationText}, from milliseconds. */
export function durationMsText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trimZeros((ms / 1000).toFixed(1))} s`;
  const parts: string[] = [];
  let rest = Math.round(ms / 1000);
  for (const [unit, seconds] of UNITS) {
    const count = Math.floor(rest / seconds);
    rest %= seconds;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

/** `512 B`, `4.2 MiB`. */
export function bytesText(bytes: bigint | number): string {
  let value = Number(bytes);
  if (value < 1024) return `${value} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    value /= 1024;
    if (value < 1024) return `${value.toFixed(1)} ${unit}`;
  }
  return `${(value / 1024).toFixed(1)} TiB`;
}

/** `5 %`, `12.5 %`. */
export function percentText(percent: number): string {
  return `${trimZeros(percent.toFixed(2))} %`;
}

/** Items in one line, or `-` if there are none. */
export function listText(items: readonly string[]): string {
  return items.length === 0 ? "-" : cleanText(items.join(", "));
}

/** `1 device`, `2 devices`. */
export function countText(count: bigint | number, singular: string, plural = `${singular}s`): string {
  return `${count} ${Number(count) === 1 ? singular : plural}`;
}

const UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
] as const;

function roughDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const [unit, size] = UNITS.find(([, unitSeconds]) => seconds >= unitSeconds) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function trimZeros(number: string): string {
  return number.includes(".") ? number.replace(/\.?0+$/, "") : number;
}
