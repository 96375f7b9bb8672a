import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { areDifferent, requestDigest } from "./request-digest.ts";

describe("requestDigest", () => {
  it("is the same for the same request, whatever the order of its keys", () => {
    const one = requestDigest({
      name: "a",
      metadata: { x: "1", y: "2" },
      expiresAt: new Date(5),
      groups: ["a"],
    });
    const other = requestDigest({
      groups: ["a"],
      expiresAt: new Date(5),
      metadata: { y: "2", x: "1" },
      name: "a",
    });
    expect(one).toEqual(other);
    expect(areDifferent(one, other)).toBe(false);
  });

  it.each([
    ["a value", { name: "a" }, { name: "b" }],
    ["a time", { at: new Date(5) }, { at: new Date(6) }],
    ["the order of a list", { groups: ["a", "b"] }, { groups: ["b", "a"] }],
    ["a nested value", { metadata: { x: "1" } }, { metadata: { x: "2" } }],
    ["what is missing", { name: "a", at: undefined }, { name: "a", at: new Date(0) }],
  ])("differs with %s", (_, one, other) => {
    expect(areDifferent(requestDigest(one), requestDigest(other))).toBe(true);
  });

  it("is of the same request for all that can be told, if an earlier release made it by another rule", () => {
    const earlier = createHash("sha256").update("the same request, written otherwise").digest();
    expect(areDifferent(earlier, requestDigest({ name: "a" }))).toBe(false);
  });
});
