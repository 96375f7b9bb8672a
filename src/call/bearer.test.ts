import { describe, expect, it } from "vitest";
import { bearerToken } from "./bearer.ts";

describe("bearerToken", () => {
  it.each(["Bearer ota_op_abc", "bearer ota_op_abc", "BEARER  ota_op_abc "])(
    "takes the token out of %j",
    (header) => {
      expect(bearerToken(header)).toBe("ota_op_abc");
    },
  );

  it.each([undefined, ""])("misses a credential in %j", (header) => {
    expect(() => bearerToken(header)).toThrow(
      expect.objectContaining({ code: "unauthenticated", reason: "CREDENTIAL_MISSING" }),
    );
  });

  it.each([
    ["another scheme", "Basic dXNlcjpwYXNz"],
    ["a bare token", "ota_op_abc"],
    ["no token", "Bearer "],
    ["two tokens", "Bearer a b"],
    ["a control character", "Bearer a\u0000b"],
    ["letters beyond ASCII", "Bearer schlüssel"],
    ["a token longer than any", `Bearer ${"a".repeat(300)}`],
  ])("refuses %s and does not repeat it", (_, header) => {
    expect(() => bearerToken(header)).toThrow(
      expect.objectContaining({
        code: "unauthenticated",
        reason: "CREDENTIAL_INVALID",
        message: "the authorization header must be `Bearer <token>`",
      }),
    );
  });
});
