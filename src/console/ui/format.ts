import type { Duration } from "@bufbuild/protobuf/wkt";

/** `1,234`. */
export function count(value: number | bigint): string {
  return numbers.format(value);
}

/** `4 devices`, `1 device`. */
export function counted(value: number | bigint, singular: string, plural = `${singular}s`): string {
  return `${count(value)} ${Number(value) === 1 ? singular : plural}`;
}

/** `12.5 %`, with at most two decimals. */
export function percent(value: number): string {
  return `${decimals.format(value)} %`;
}

/** `3.4 MiB`; binary units, because that is what devices have. */
export function bytes(value: number | bigint): string {
  let size = Number(value);
  let unit = 0;
  while (size >= 1024 && unit < byteUnits.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(size) : size.toPrecision(size >= 1000 ? 4 : 3)} ${byteUnits[unit]}`;
}

/** `1 h 30 min`, the two largest units; `0 s` for none. */
export function duration(value: Duration | number | undefined): string {
  if (value === undefined) return "—";
  const seconds = typeof value === "number" ? value : Number(value.seconds) + value.nanos / 1e9;
  let rest = Math.round(seconds);
  const parts: string[] = [];
  for (const [unit, length] of durationUnits) {
    const whole = Math.floor(rest / length);
    if (whole > 0) parts.push(`${whole} ${unit}`);
    rest -= whole * length;
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? "0 s" : parts.join(" ");
}

const numbers = new Intl.NumberFormat("en");
const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB"];
const durationUnits = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
] as const;
