import { expect, it } from "vitest";
import { newUpdateId } from "./update-id.ts";

const at = (text: string) => new Date(`2026-06-01T${text}Z`);

it("of a device's tries the newest has the highest id, also after the clock was set back", () => {
  const ids = [newUpdateId(at("12:00:00"))];
  for (const time of ["12:00:00", "11:00:00", "11:00:00.500", "12:30:00"])
    ids.push(newUpdateId(at(time), ids.at(-1)));
  expect(ids).toEqual(ids.toSorted());
  expect(new Set(ids.map((id) => id.slice(0, 13))).size).toBe(ids.length);
});

it("rises within one millisecond", () => {
  const ids = Array.from({ length: 1_000 }, () => newUpdateId(at("12:00:00")));
  expect(ids).toEqual(ids.toSorted());
  expect(new Set(ids).size).toBe(ids.length);
});

it("rises within one millisecond whatever is made for another one in between", () => {
  const ids = Array.from({ length: 1_000 }, () => {
    newUpdateId(at("12:00:00.001"));
    return newUpdateId(at("12:00:00"));
  });
  expect(ids).toEqual(ids.toSorted());
});
