import { describe, expect, it } from "vitest";
import { actorOf, callingDevice, roleIncludes, roles } from "./identity.ts";

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

describe("callingDevice", () => {
  it("is the device, and tells others that they are none", () => {
    expect(callingDevice({ kind: "device", deviceId: "d1", credentialId: "c" }, "send heartbeats")).toBe(
      "d1",
    );
    expect(() => callingDevice({ kind: "anonymous" }, "send heartbeats")).toThrow(
      expect.objectContaining({ reason: "ROLE_REQUIRED", message: "only devices send heartbeats" }),
    );
  });
});
