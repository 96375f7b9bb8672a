import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import world from "world-atlas/countries-110m.json?url";
import { registerMap } from "../charts/echarts.ts";

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
  registerMap(worldMap, { geoJSON: feature(topology, topology.objects.countries) as never });
}
