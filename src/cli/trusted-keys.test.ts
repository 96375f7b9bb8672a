import { describe, expect, it } from "vitest";
import { parseRequiredSignatures } from "./trusted-keys.ts";

describe("--signatures-required", () => {
  it.each([
    ["2", { total: 2, release: 0, security: 0 }],
    ["release=1,security=1", { total: 2, release: 1, security: 1 }],
    ["3,security=1", { total: 3, release: 0, security: 1 }],
    ["1,release=2", { total: 2, release: 2, security: 0 }],
  ])("%s", (text, required) => {
    expect(parseRequiredSignatures(text)).toEqual(required);
  });

  it.each([
    "",
    "0",
    "release=0",
    "17",
    "release=9,security=9",
    "test=1",
    "2,2",
    "release=1,release=2",
    "one",
  ])("%j is refused", (text) => {
    expect(() => parseRequiredSignatures(text)).toThrow(/Write a count/);
  });
});
