import { expect, it } from "vitest";
import { actorName } from "./actor-name.ts";

it.each([
  ["operator:alice", "alice"],
  ["operator:line 3: night", "line 3: night"],
  ["oidc:s-1 (alice)", "alice"],
  ["oidc:auth0|7 (eve (admin))", "eve (admin)"],
  ["oidc:s-1", "s-1"],
  ["device:018f3a52", "device:018f3a52"],
  ["system:rule", "system:rule"],
])("%s is %s", (actor, name) => {
  expect(actorName(actor)).toBe(name);
});
