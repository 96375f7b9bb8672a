/**
 * A part of the map, in degrees (WGS 84). One that crosses the 180th meridian goes on beyond it: its western edge is below
 * -180 or its eastern one above 180.
 */
export interface Box {
  readonly south: number;
  readonly west: number;
  readonly north: number;
  readonly east: number;
}

/** Where people live, without the poles: what a map shows if there is nothing to come near to. */
export const inhabitedWorld: Box = { south: -56, west: -180, north: 74, east: 180 };

/** All of it. */
export const wholeWorld: Box = { south: -90, west: -180, north: 90, east: 180 };

/** Reads a box from an address, written as by {@link boxText}; undefined if it is none. */
export function readBox(text: string | undefined): Box | undefined {
  const [south, west, north, east, ...more] = (text ?? "").split(",").map(Number);
  if (south === undefined || west === undefined || north === undefined || east === undefined)
    return undefined;
  if (more.length > 0 || ![south, west, north, east].every(Number.isFinite)) return undefined;
  return south < north && west < east ? clampBox({ south, west, north, east }) : undefined;
}

/** A box as text, to a hundredth of a percent of its size. */
export function boxText({ south, west, north, east }: Box): string {
  const digits = Math.max(0, Math.ceil(-Math.log10((north - south) / 10_000)));
  return [south, west, north, east].map((degrees) => Number(degrees.toFixed(digits))).join(",");
}

/** Cuts off what lies beyond the poles, and goes round the world until the middle lies between -180 and 180. */
export function clampBox({ south, west, north, east }: Box): Box {
  const shown = { south: Math.max(south, -90), north: Math.min(north, 90) };
  if (east - west >= 360) return { ...shown, west: -180, east: 180 };
  const rounds = 360 * Math.floor(((west + east) / 2 + 180) / 360);
  return { ...shown, west: west - rounds, east: east - rounds };
}

/** A box as the service takes it: its western edge is above its eastern one if it crosses the 180th meridian. */
export function wireBox({ south, west, north, east }: Box): Box {
  return { south, north, west: wrapped(west), east: wrapped(east) };
}

/** A longitude as it is drawn in a box: there may be a way round the world that is nearer to its middle. */
export function longitudeIn({ west, east }: Box, longitude: number): number {
  return longitude + 360 * Math.round(((west + east) / 2 - longitude) / 360);
}

/** The box around points, with a margin; around a single place so wide that borders and coasts tell where it is. Undefined for none. */
export function boxAround(
  points: readonly { readonly latitude: number; readonly longitude: number }[],
): Box | undefined {
  if (points.length === 0) return undefined;
  const [south, north] = extentOf(points.map(({ latitude }) => latitude));
  const [west, east] = [
    extentOf(points.map(({ longitude }) => longitude)),
    // Across the 180th meridian it may be nearer.
    extentOf(points.map(({ longitude }) => (longitude < 0 ? longitude + 360 : longitude))),
  ].toSorted((a, b) => a[1] - a[0] - (b[1] - b[0]))[0] ?? [-180, 180];
  const extent = Math.max(north - south, east - west);
  const margin = extent < standingDegrees ? aroundPlaceDegrees : 0.15 * extent;
  return clampBox({ south: south - margin, west: west - margin, north: north + margin, east: east + margin });
}

function extentOf(values: readonly number[]): readonly [least: number, most: number] {
  return [
    values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY),
    values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY),
  ];
}

/** The same longitude between -180 and 180. */
function wrapped(longitude: number): number {
  if (longitude >= -180 && longitude <= 180) return longitude;
  return longitude - 360 * Math.floor((longitude + 180) / 360);
}

/** Some 200 metres: points within it are one place. */
const standingDegrees = 0.002;

/** Some 300 kilometres. */
const aroundPlaceDegrees = 3;
