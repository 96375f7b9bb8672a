import { expect, it } from "vitest";
import { type VersionMoment, versionLayers } from "./version-layers.ts";

function moment(atMs: number, versions: Record<string, number>, unknown = 0): VersionMoment {
  return { atMs, versions: new Map(Object.entries(versions)), other: 0, unknown };
}

it("gives each version a value at each time, oldest version first", () => {
  const layers = versionLayers([moment(20, { "1.10.0": 3, "1.9.0": 1 }), moment(10, { "1.9.0": 4 })], 100);
  expect(layers.times).toEqual([10, 20]);
  expect(layers.layers).toEqual([
    { name: "1.9.0", kind: "version", counts: [4, 1] },
    { name: "1.10.0", kind: "version", counts: [0, 3] },
  ]);
});

it("draws no line where nobody counted", () => {
  const { times, layers } = versionLayers([moment(0, { "1.0.0": 4 }), moment(500, { "1.0.0": 2 })], 100);
  expect(times).toEqual([0, 1, 500]);
  expect(layers[0]?.counts).toEqual([4, null, 2]);
});

it("draws small ones together, and those that have not told apart", () => {
  const many = Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`1.0.${n}`, 20 - n]));
  const { layers } = versionLayers([moment(0, many, 5)], 100);
  expect(layers.map(({ name, counts }) => [name, ...counts])).toEqual([
    ...[20, 19, 18, 17, 16, 15].map((devices, n) => [`1.0.${n}`, devices]),
    ["others", 14 + 13 + 12],
    ["not told yet", 5],
  ]);
});
