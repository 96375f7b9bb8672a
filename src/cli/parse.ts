import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError } from "commander";
import { Role } from "../../gen/ota/v1/access_pb.js";

/** `90s`, `5m`, `1h30m`, `250ms`, `2d` as milliseconds. */
export function parseDurationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|min|m|s|h|d)/gy)];
  const length = parts.reduce((sum, [whole]) => sum + whole.length, 0);
  if (text === "" || length !== text.length) {
    throw new InvalidArgumentError("Write a duration such as 250ms, 90s, 5m, 1h30m or 2d.");
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNIT_MS[unit ?? ""] ?? 0), 0);
}

/** A time (`2026-12-31`, `2026-12-31T12:00:00Z`) or a duration from now (`30d`). */
export function parseTime(text: string): Timestamp {
  return timeFrom(text, Date.now());
}

/** As {@link parseTime}, from a given moment on. */
export function timeFrom(text: string, nowMs: number): Timestamp {
  if (/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.test(text)) {
    const ms = Date.parse(text);
    if (!Number.isNaN(ms)) return timestampFromMs(ms);
  }
  try {
    return timestampFromMs(Math.round(nowMs + parseDurationMs(text)));
  } catch {
    throw new InvalidArgumentError(
      "Write a date (2026-12-31), a time (2026-12-31T12:00:00Z) or a time from now (30d).",
    );
  }
}

/** A time, or a duration that lies in the past (`1h`: an hour ago). */
export function parseSince(text: string): Timestamp {
  const nowMs = Date.now();
  return /^\d{4}-/.test(text)
    ? timeFrom(text, nowMs)
    : timestampFromMs(Math.round(nowMs - parseDurationMs(text)));
}

/** A whole number within limits. */
export function parseCount(min: number, max: number): (text: string) => number {
  return (text) => {
    const count = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(count >= min && count <= max)) {
      throw new InvalidArgumentError(`Write a whole number from ${min} to ${max}.`);
    }
    return count;
  };
}

/** `1048576`, `500KB`, `4MiB`, `1.5GiB` in bytes. */
export function parseBytes(text: string): bigint {
  const match = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?$/i.exec(text);
  const factor = BYTE_UNITS[(match?.[2] ?? "b").toLowerCase()];
  if (match === null || factor === undefined) {
    throw new InvalidArgumentError("Write a size in bytes, or such as 500KB, 4MiB or 1.5GiB.");
  }
  return BigInt(Math.round(Number(match[1]) * factor));
}

/** `5`, `12.5`, `5%`: a percentage from 0 to 100. */
export function parsePercent(text: string): number {
  const percent = /^\d+(?:\.\d+)?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (!(percent >= 0 && percent <= 100)) throw new InvalidArgumentError("Write a percentage from 0 to 100.");
  return percent;
}

/** A number within limits, for example `1.5`. */
export function parseNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = text.trim() === "" ? Number.NaN : Number(text);
    if (!(number >= min && number <= max)) {
      throw new InvalidArgumentError(`Write a number from ${min} to ${max}.`);
    }
    return number;
  };
}

/** One of a few words of the contract, in lower case and with dashes for underscores. */
export function parseChoice(choices: readonly string[]): (text: string) => string {
  const written = new Map(choices.map((each) => [each.toLowerCase().replaceAll("_", "-"), each]));
  return (text) => {
    const choice = written.get(text.trim().toLowerCase().replaceAll("_", "-"));
    if (choice === undefined)
      throw new InvalidArgumentError(`Write one of ${[...written.keys()].join(", ")}.`);
    return choice;
  };
}

/** Collects a repeatable option whose values may also be joined by commas. */
export function collectList(text: string, before: readonly string[] = []): string[] {
  const items = text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
  if (items.length === 0) throw new InvalidArgumentError("Write one or more names.");
  return [...before, ...items];
}

/** Collects the texts of a repeatable option as they are. */
export function collectTexts(text: string, before: readonly string[] = []): string[] {
  if (text === "") throw new InvalidArgumentError("Write a text.");
  return [...before, text];
}

/**
 * As {@link collectList}, for the names of device types and hardware models, which may hold commas: a backslash before one
 * makes it part of the name, as in `toradex\,verdin-imx8mp`.
 */
export function collectNames(text: string, before: readonly string[] = []): string[] {
  const items = text
    .split(/(?<!\\),/)
    .map((item) => item.replaceAll("\\,", ",").trim())
    .filter((item) => item !== "");
  if (items.length === 0) throw new InvalidArgumentError("Write one or more names.");
  return [...before, ...items];
}

/** Collects `name=text` pairs of a repeatable option. */
export function collectPairs(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Write name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** The same pairs as texts again. */
export function pairTexts(pairs: Readonly<Record<string, string>> = {}): string[] {
  return Object.entries(pairs).map(([name, value]) => `${name}=${value}`);
}

/** Collects `version=share` pairs of a repeatable option, the share from 0 to 1, such as `1.2.0=0.33`. */
export function collectShares(
  text: string,
  before: Readonly<Record<string, number>> = {},
): Record<string, number> {
  const at = text.lastIndexOf("=");
  const share = at < 1 ? Number.NaN : Number(text.slice(at + 1) || Number.NaN);
  if (!(share >= 0 && share <= 1)) {
    throw new InvalidArgumentError("Write version=share with a share from 0 to 1, for example 1.2.0=0.33.");
  }
  return { ...before, [text.slice(0, at)]: share };
}

/** A ring as somebody writes it: with a share, or with a number of devices. */
export type ParsedRing =
  | { readonly name: string; readonly percent: number }
  | { readonly name: string; readonly devices: number };

/** Rings as `canary=5,early=25,production=100` or `canary=10devices,early=5%,production=100%`. */
export function parseRings(text: string): ParsedRing[] {
  return text.split(",").map((part) => {
    const [name, reach, ...rest] = part.split("=");
    if (name === undefined || name.trim() === "" || reach === undefined || rest.length > 0) {
      throw new InvalidArgumentError(
        "Write rings with what they reach with those before them: canary=10devices,early=25%,production=100%.",
      );
    }
    const devices = /^([1-9]\d{0,6}) ?devices?$/.exec(reach.trim())?.[1];
    if (devices !== undefined) return { name: name.trim(), devices: Number(devices) };
    return { name: name.trim(), percent: parsePercent(reach.trim()) };
  });
}

/** `viewer`, `operator` or `admin`. */
export function parseRole(text: string): Role {
  const role = ROLES[text.toLowerCase()];
  if (role === undefined) throw new InvalidArgumentError("Write viewer, operator or admin.");
  return role;
}

/** Values of an enum by their names in lower case, with dashes for underscores. */
export function parseEnumValue(
  values: Readonly<Record<string, number | string>>,
): (text: string, before?: readonly number[]) => number[] {
  const byName = new Map<string, number>();
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "number" && value !== 0) byName.set(name.toLowerCase().replaceAll("_", "-"), value);
  }
  return (text, before = []) => {
    const found = text.split(",").map((name) => {
      const value = byName.get(name.trim().toLowerCase().replaceAll("_", "-"));
      if (value === undefined)
        throw new InvalidArgumentError(`Write one of ${[...byName.keys()].join(", ")}.`);
      return value;
    });
    return [...before, ...found];
  };
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const BYTE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
};

const ROLES: Readonly<Record<string, Role>> = {
  viewer: Role.VIEWER,
  operator: Role.OPERATOR,
  admin: Role.ADMIN,
};
