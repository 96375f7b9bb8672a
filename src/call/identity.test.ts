import { describe, expect, it } from "vitest";
import { actorOf, roleIncludes, roles } from "./identity.ts";

describe("roles", () => {
  it("include themselves and those before them, and no others", () => {
    const included = roles.map((held) => roles.filter((needed) => roleIncludes(held, needed)));
    expect(included).toEqual([["viewer"], ["viewer", "operator"], ["viewer", "operator", "admin"]]);
  });
});

describe("actorOf", () => {
  it("names callers as the audit log does", () => {
    expect(actorOf({ kind: "operator", tokenId: "t", name: "ada", role: "admin" })).toBe("operator:ada");
    expect(actorOf({ kind: "device", deviceId: "d1", credentialId: "c" })).toBe("device:d1");
    expect(actorOf({ kind: "anonymous" })).toBe("anonymous");
  });
});
