import { expect, it } from "vitest";
import { FunctionTable } from "./function-table.ts";

const table = new FunctionTable([
  { name: "poll", address: 0x200, size: 0x20 },
  { name: "read", address: 0x100, size: 0x10 },
  { name: "alias", address: 0x100, size: 0x10 },
  { name: "tail", address: 0x300, size: 0 },
]);

it.each([
  [0x0ff, undefined],
  [0x100, "read"],
  [0x10f, "read"],
  [0x110, undefined],
  [0x21f, "poll"],
  [0x220, undefined],
  [0x300, "tail"],
  [0x9999, "tail"],
])("names address %i", (address, name) => {
  expect(table.nameAt(address)).toBe(name);
});

it("of no functions names nothing", () => {
  expect(new FunctionTable([]).nameAt(1)).toBeUndefined();
});
