import type { Feature, Position } from "geojson";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import world from "world-atlas/countries-110m.json?url";
import { registerMap } from "./echarts.ts";

/** The name under which the outlines of the world's countries are registered. */
export const worldMap = "world";

/**
 * Registers the outlines of the countries (Natural Earth, 1:110 million), which lie beside the console: no map server is
 * asked for anything. Reads them once.
 */
export function loadWorld(): Promise<void> {
  loading ??= read().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

let loading: Promise<void> | undefined;

async function read(): Promise<void> {
  const answer = await fetch(world);
  if (!answer.ok) throw new Error(`the outlines of the world answered ${answer.status}`);
  const topology = (await answer.json()) as Topology<{ countries: GeometryCollection<{ name: string }> }>;
  const countries = feature(topology, topology.objects.countries);
  for (const { geometry } of countries.features) {
    if (geometry.type === "Polygon") unwrap(geometry.coordinates);
    if (geometry.type === "MultiPolygon") geometry.coordinates.forEach(unwrap);
  }
  registerMap(worldMap, { ...countries, features: countries.features.map(goneRound) } as never);
}

/** A country with what of it is seen by those who look across the 180th meridian: the map goes on there, half a world each way. */
function goneRound<F extends Feature>(country: F): Feature {
  const { geometry } = country;
  const polygons =
    geometry.type === "Polygon"
      ? [geometry.coordinates]
      : geometry.type === "MultiPolygon"
        ? geometry.coordinates
        : [];
  const coordinates = polygons.flatMap((polygon) => {
    const longitudes = polygon.flat().map(([longitude = 0]) => longitude);
    return [
      polygon,
      ...(longitudes.some((longitude) => longitude < 0) ? [shifted(polygon, 360)] : []),
      ...(longitudes.some((longitude) => longitude > 0) ? [shifted(polygon, -360)] : []),
    ];
  });
  return { ...country, geometry: { type: "MultiPolygon", coordinates } };
}

function shifted(polygon: readonly Position[][], degrees: number): Position[][] {
  return polygon.map((ring) => ring.map(([longitude = 0, latitude = 0]) => [longitude + degrees, latitude]));
}

/**
 * Draws what lies on both sides of the 180th meridian in one piece east of it: the straight lines from one edge of the map
 * to the other are no outlines. (Antarctica goes around the pole and is meant to.)
 */
function unwrap(polygon: Position[][]): void {
  for (const ring of polygon) {
    const crosses = ring.some(
      ([longitude = 0], index) => Math.abs(longitude - (ring[index - 1]?.[0] ?? longitude)) > 180,
    );
    if (!crosses || ring.some(([, latitude = 0]) => latitude < -85)) continue;
    for (const position of ring) {
      if ((position[0] ?? 0) < 0) position[0] = (position[0] ?? 0) + 360;
    }
  }
}
