/** A part of the map, in degrees (WGS 84). */
export interface Box {
  readonly south: number;
  readonly west: number;
  readonly north: number;
  readonly east: number;
}

/** Where people live, without the poles: what a map shows at first. */
export const inhabitedWorld: Box = { south: -56, west: -170, north: 74, east: 179 };

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

/** Cuts what lies beyond the poles and the 180th meridian off. */
export function clampBox({ south, west, north, east }: Box): Box {
  return {
    south: Math.max(south, -90),
    west: Math.max(west, -180),
    north: Math.min(north, 90),
    east: Math.min(east, 180),
  };
}

/** The box around points, with a margin; around a single place so wide that borders and coasts tell where it is. Undefined for none. */
export function boxAround(
  points: readonly { readonly latitude: number; readonly longitude: number }[],
): Box | undefined {
  if (points.length === 0) return undefined;
  let [south, west, north, east] = [90, 180, -90, -180];
  for (const { latitude, longitude } of points) {
    south = Math.min(south, latitude);
    north = Math.max(north, latitude);
    west = Math.min(west, longitude);
    east = Math.max(east, longitude);
  }
  const extent = Math.max(north - south, east - west);
  const margin = extent < standingDegrees ? aroundPlaceDegrees : 0.15 * extent;
  return clampBox({ south: south - margin, west: west - margin, north: north + margin, east: east + margin });
}

/** Some 200 metres: points within it are one place. */
const standingDegrees = 0.002;

/** Some 300 kilometres. */
const aroundPlaceDegrees = 3;
