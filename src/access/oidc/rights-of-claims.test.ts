import { describe, expect, it } from "vitest";
import { type RightsMapping, rightsOfClaims, rightsOfSession } from "./rights-of-claims.ts";

const berlin = { products: [], deviceFilter: "groups:berlin" };
const roles = {
  claims: ["roles"],
  names: { viewer: ["v"], operator: ["o"], admin: ["a"] },
} satisfies RightsMapping["roles"];
const limited: RightsMapping = {
  roles,
  limits: {
    claim: "fleets.names",
    named: new Map([
      ["berlin", berlin],
      ["all", undefined],
    ]),
  },
};
const open: RightsMapping = { roles, limits: undefined };

describe("rightsOfClaims", () => {
  const rights = (claims: object, mapping = limited) => rightsOfClaims("oidc:7", { ...claims }, mapping);

  it("limits viewers and operators by the one group that they are in, also one inside an object", () => {
    const fleets = { names: ["chess", "berlin"] };
    expect(rights({ roles: "o", fleets })).toEqual({ role: "operator", limit: "berlin", scope: berlin });
    expect(rights({ roles: "v", "fleets.names": "all" })).toEqual({ role: "viewer", limit: "all" });
  });

  it("limits no administrator, and nobody where there are no limits", () => {
    expect(rights({ roles: ["a", "v"], "fleets.names": "berlin" })).toEqual({ role: "admin" });
    expect(rights({ roles: "v", "fleets.names": "berlin" }, open)).toEqual({ role: "viewer" });
  });

  it("names the claim and at most ten of the groups that it may name", () => {
    const named = new Map(Array.from({ length: 12 }, (_, each) => [`g${each}`, undefined] as const));
    const many = { roles, limits: { claim: "groups", named } };
    expect(() => rights({ roles: "v" }, many)).toThrow(
      /oidc:7 has no limits here: the claim groups must name one of g0, .*, g9 and 2 more;/,
    );
  });
});

describe("rightsOfSession", () => {
  it("looks limits up by the settings of now", () => {
    expect(rightsOfSession("operator", "berlin", limited)).toMatchObject({ scope: berlin });
    expect(rightsOfSession("operator", "all", limited)).toEqual({ role: "operator", limit: "all" });
    expect(rightsOfSession("admin", undefined, limited)).toEqual({ role: "admin" });
    expect(rightsOfSession("viewer", undefined, open)).toEqual({ role: "viewer" });
  });

  it.each([
    ["limits that are gone", "munich", limited],
    ["none, from before there were some", undefined, limited],
    ["limits, where there are none any more", "berlin", open],
  ])("ends one that has %s", (_, limit, mapping) => {
    expect(() => rightsOfSession("viewer", limit, mapping)).toThrow(
      expect.objectContaining({ reason: "CREDENTIAL_REVOKED" }),
    );
  });
});
