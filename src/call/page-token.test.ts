import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OtaError } from "../errors.ts";
import { PageTokens, pageSize } from "./page-token.ts";

const tokens = new PageTokens(Buffer.alloc(32, 1));

describe("PageTokens", () => {
  it("gives back any keyset for the same filter", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme" })), fc.jsonValue(), (keyset, filter) => {
        expect(tokens.decode(tokens.encode({ filter, keyset }), filter)).toEqual(keyset);
      }),
    );
  });

  it("does not mind the order in which a filter is written, nor unset parts", () => {
    const token = tokens.encode({ filter: { a: 1, b: [2n] }, keyset: ["x"] });
    expect(tokens.decode(token, { b: [2n], a: 1, c: undefined })).toEqual(["x"]);
  });

  it("has no keyset for the first page", () => {
    expect(tokens.decode("", {})).toBeUndefined();
  });

  it.each([
    ["of another filter", tokens.encode({ filter: { a: 2 }, keyset: ["x"] })],
    ["of another service", new PageTokens(Buffer.alloc(32, 2)).encode({ filter: { a: 1 }, keyset: ["x"] })],
    ["that was made up", Buffer.from('["x"]').toString("base64url")],
    ["that is short", "abc"],
    ["that is no base64", "%%%"],
  ])("refuses a token %s", (_what, token) => {
    expect(() => tokens.decode(token, { a: 1 })).toThrow(
      expect.objectContaining({ reason: "INVALID_PAGE_TOKEN" }),
    );
  });

  it("refuses a token with any bit changed", () => {
    const bytes = Buffer.from(tokens.encode({ filter: {}, keyset: ["x"] }), "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => tokens.decode(changed.toString("base64url"), {})).toThrow(OtaError);
    }
  });

  it("needs a secret that cannot be guessed", () => {
    expect(() => new PageTokens(Buffer.alloc(15))).toThrow("16 bytes");
  });
});

it.each([
  [0, 50],
  [-1, 50],
  [1, 1],
  [1_000, 1_000],
  [1_001, 1_000],
])("a page size of %i means %i", (asked, rows) => {
  expect(pageSize(asked)).toBe(rows);
});
