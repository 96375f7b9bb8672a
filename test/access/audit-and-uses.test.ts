import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Authenticator } from "../../src/access/authenticator.ts";
import { TokenUses } from "../../src/access/token-uses.ts";
import { silent, startAccess } from "./access-fixture.ts";

describe("AuditLog", () => {
  it("lists by actor, action, kind of resource and time, newest first", async () => {
    await using access = await startAccess();
    const { audit, database } = access;
    const entries = [
      ["operator:ada", "rollout.start", "rollout"],
      ["operator:bob", "rollout.pause", "rollout"],
      ["operator:ada", "device.update", "device"],
    ] as const;
    await database.em().transactional(async (em) => {
      for (const [actor, action, resourceType] of entries) {
        await audit.record(em, { actor, action, resourceType, resourceId: randomUUID() });
      }
    });
    const actions = async (filter: Parameters<typeof audit.list>[0]) =>
      (await audit.list(filter, { limit: 10 })).map(({ action }) => action);
    expect(await actions({})).toEqual(["device.update", "rollout.pause", "rollout.start"]);
    expect(await actions({ actor: "operator:ada" })).toEqual(["device.update", "rollout.start"]);
    expect(await actions({ resourceType: "rollout", actor: "operator:bob" })).toEqual(["rollout.pause"]);
    expect(await actions({ action: "rollout.start" })).toEqual(["rollout.start"]);
    const anHour = 3_600_000;
    const now = Date.now();
    expect(await actions({ startAt: new Date(now - anHour), endAt: new Date(now + anHour) })).toHaveLength(3);
    expect(await actions({ startAt: new Date(now + anHour / 2) })).toEqual([]);
    expect(await actions({ endAt: new Date(now - anHour / 2) })).toEqual([]);
    expect(await actions({ startAt: new Date(0), endAt: new Date("9999-12-31T00:00:00Z") })).toHaveLength(3);
  });
});

describe("TokenUses", () => {
  it("writes the last use of operators' tokens, later and never backwards", async () => {
    await using access = await startAccess();
    const { database, clock, tokens } = access;
    const uses = new TokenUses({ database, clock, logger: silent });
    const authenticator = new Authenticator({ database, clock, uses });
    try {
      const { token, secret } = await tokens.create({
        actor: "operator:root",
        requestId: undefined,
        name: "ada",
        role: "viewer",
        expiresAt: undefined,
      });
      const lastUse = async () =>
        (await tokens.list({ limit: 10 })).find(({ id }) => id === token.id)?.lastUsedAt;
      await authenticator.identify(secret);
      expect(await lastUse()).toBeNull();
      const first = clock.now();
      await uses.flush();
      expect(await lastUse()).toEqual(first);
      clock.advance(61_000);
      await authenticator.identify(secret);
      const second = clock.now();
      await uses.close();
      expect(await lastUse()).toEqual(second);
      clock.setWallClock(first);
      uses.used(token.id);
      await uses.flush();
      expect(await lastUse()).toEqual(second);
    } finally {
      authenticator.close();
      await uses.close();
    }
  });
});
