import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { generateSigningKey, signManifest } from "../../src/manifest/signature.ts";
import { RolloutFirmwareUse, StoppedDeviceUpdates } from "../../src/rollout/rollout-observers.ts";
import { eventually } from "../support/eventually.ts";
import {
  actor,
  content,
  expectExactCounters,
  Fleet,
  gate,
  minute,
  openReplica,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

const oneRing = [{ name: "all", percent: 100, gate }];

const call = (id: string) => ({ id, actor, reason: "because" });

describe("verbs", () => {
  it("refuse what the state does not allow, and say what it allows", async () => {
    await using test = await openReplica();
    const { catalog, world } = test;
    const { id } = await catalog.create(wanted(await release(world, "1.1.0")), { actor });
    await expect(catalog.pause(call(id))).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "ILLEGAL_TRANSITION",
      metadata: { state: "DRAFT", allowed: "start,abort" },
    });
    await catalog.abort(call(id));
    await expect(catalog.start(call(id))).rejects.toMatchObject({
      metadata: { state: "ABORTED", allowed: "" },
    });
    await expect(catalog.get(randomUUID())).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });

  it("pause stops offers at once and lets devices go on; resume makes offers again", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const fleet = await Fleet.enrol(world, 4);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const [first, ...rest] = fleet.devices;
    if (first === undefined) throw new Error("no device");
    const [offer] = await fleet.offers(replica, [first]);
    const paused = await catalog.pause(call(id));
    expect(paused.stateReason).toBe("because");
    expect((await catalog.pause(call(id))).revision).toBe(paused.revision);
    // Memory may be a moment behind, the database is not.
    expect(await fleet.offers(replica, rest)).toEqual([]);
    await until(replica, id, () => expect(replica.engine.index.get(id)?.rollout.state).toBe("PAUSED"));
    expect(await fleet.check(replica, rest[0] ?? first)).toMatchObject({ reason: "ROLLOUT_PAUSED" });
    expect(await fleet.check(replica, first)).toMatchObject({ kind: "offer", update: { id: offer?.[1].id } });
    await catalog.resume(call(id));
    await until(replica, id, () => expect(replica.engine.index.get(id)?.rollout.state).toBe("RUNNING"));
    expect(await fleet.offers(replica, rest)).toHaveLength(3);
    await expectExactCounters(world);
  });

  it("abort cancels what is not being installed and rolls nothing back", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const fleet = await Fleet.enrol(world, 3);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const offers = await fleet.offers(replica);
    const [[installing, update] = []] = offers;
    if (installing === undefined || update === undefined) throw new Error("no offers");
    for (const device of fleet.devices) replica.connected.add(device.id);
    await report(replica, installing.id, update.id, "INSTALLING");
    await catalog.abort(call(id));
    await until(replica, id, () => {
      const cancelled = replica.directives.filter((text) => text.includes(" cancel "));
      expect(cancelled).toHaveLength(2);
      expect(replica.engine.tracker.size).toBe(1);
    });
    fleet.reboot(installing, "1.1.0");
    fleet.beat(replica, [installing]);
    await until(replica, id, () =>
      expect(replica.engine.tracker.get(installing.id)?.state).toBe("VERIFYING"),
    );
    world.clock.advance(5 * minute);
    fleet.beat(replica, [installing]);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(1));
    expect(await fleet.offers(replica)).toEqual([]);
    await expectExactCounters(world);
  });

  it("promote opens rings by hand, by name and only at the revision that was seen", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const started = await run(replica, wanted(await release(world, "1.1.0")));
    const { id, revision } = started;
    await expect(catalog.promote({ ...call(id), ring: "nowhere" })).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "UNKNOWN_RING",
      metadata: { rings: "canary, early, broad, production" },
    });
    const second = await catalog.promote({ ...call(id), revision: String(revision) });
    expect(second.rings.map(({ state }) => state)).toEqual(["PASSED", "OPEN", "WAITING", "WAITING"]);
    await expect(catalog.promote({ ...call(id), revision: String(revision) })).rejects.toMatchObject({
      code: "aborted",
    });
    const last = await catalog.promote({ ...call(id), ring: "production" });
    expect(last.rings.map(({ state }) => state)).toEqual(["PASSED", "PASSED", "PASSED", "OPEN"]);
    expect((await catalog.promote({ ...call(id), ring: "early" })).revision).toBe(last.revision);
    expect((await catalog.promote(call(id))).state).toBe("COMPLETED");
  });
});

describe("creating", () => {
  it("is done once for a request id, and refuses another request under it", async () => {
    await using test = await openReplica();
    const firmwareId = await release(test.world, "1.1.0");
    const requestId = randomUUID();
    const [one, two] = await Promise.all([
      test.catalog.create(wanted(firmwareId), { actor, requestId }),
      test.catalog.create(wanted(firmwareId), { actor, requestId }),
    ]);
    expect(two.id).toBe(one.id);
    await expect(
      test.catalog.create(wanted(firmwareId, { name: "other" }), { actor, requestId }),
    ).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
  });

  it("fills in defaults", async () => {
    await using test = await openReplica();
    const firmwareId = await release(test.world, "1.1.0");
    const rollout = await test.catalog.create(wanted(firmwareId, { rings: [] }), { actor });
    expect(rollout.name).toBe("os 1.1.0");
    expect(rollout.rings.map(({ name, percentBasisPoints }) => [name, percentBasisPoints])).toEqual([
      ["canary", 500],
      ["early", 2_500],
      ["broad", 7_500],
      ["production", 10_000],
    ]);
    expect(rollout.policy).toMatchObject({
      failureThresholdPercent: 10,
      failureMinSample: 5,
      maxInProgress: 10_000,
    });
    expect((await test.catalog.list({ states: ["DRAFT"] }, { limit: 10 })).map(({ id }) => id)).toEqual([
      rollout.id,
    ]);
    expect(await test.catalog.list({ states: [] }, { limit: 10, after: rollout.id })).toEqual([]);
  });
});

describe("deploying", () => {
  it("makes one rollout, however often and at once, and then takes it on", async () => {
    await using test = await openReplica();
    const firmwareId = await release(test.world, "1.1.0");
    const all = await Promise.all(
      [1, 2, 3].map(() => test.catalog.deploy(wanted(firmwareId), undefined, { actor })),
    );
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    expect(all[0]).toMatchObject({ state: "RUNNING" });
    const further = await test.catalog.deploy(wanted(firmwareId), "broad", { actor });
    expect(further.id).toBe(all[0]?.id);
    expect(further.rings.map(({ state }) => state)).toEqual(["PASSED", "PASSED", "OPEN", "WAITING"]);
    await expect(test.catalog.deploy(wanted(firmwareId), "no such", { actor })).rejects.toMatchObject({
      reason: "UNKNOWN_RING",
    });
    await test.catalog.pause(call(further.id));
    await expect(test.catalog.deploy(wanted(firmwareId), "production", { actor })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
  });
});

describe("the limit of devices in progress", () => {
  it("is kept exactly, also by two replicas at once, and frees places", async () => {
    await using test = await openReplica();
    const { world, replica } = test;
    await using other = await startReplica(world);
    const fleet = await Fleet.enrol(world, 60);
    const policy = { pauseOnFailure: false, maxInProgress: 7 };
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing, policy }));
    await until(other, id, () => expect(other.engine.index.get(id)).toBeDefined());
    const offers = await Promise.all([
      fleet.offers(replica, fleet.devices.slice(0, 30)),
      fleet.offers(other, fleet.devices.slice(30)),
    ]);
    expect(offers.flat()).toHaveLength(7);
    const [[device, update] = []] = offers.flat();
    if (device === undefined || update === undefined) throw new Error("no offer");
    const free = fleet.devices.filter(
      ({ id: deviceId }) => !offers.flat().some(([each]) => each.id === deviceId),
    );
    expect(await fleet.check(replica, free[0] ?? device)).toMatchObject({ reason: "TOO_MANY_IN_PROGRESS" });
    await report(replica, device.id, update.id, "FAILED", "INSTALL_FAILED");
    await until(replica, id, async () => expect(await fleet.offers(replica, free)).toHaveLength(1));
    await expectExactCounters(world);
  });
});

describe("several rollouts", () => {
  it("offer the newest version first, and the older one where the newer is not yet", async () => {
    await using test = await openReplica();
    const { world, replica } = test;
    const fleet = await Fleet.enrol(world, 200);
    await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    await run(replica, wanted(await release(world, "1.2.0-rc.1")));
    const versions = Map.groupBy(await fleet.offers(replica), ([, { toVersion }]) => toVersion);
    expect([...versions.keys()].sort()).toEqual(["1.1.0", "1.2.0-rc.1"]);
    expect(versions.get("1.2.0-rc.1")?.length).toBeLessThan(30);
  });
});

describe("downloads", () => {
  it("give a device what it was offered, whole or in part, and nothing else", async () => {
    await using test = await openReplica();
    const { world, replica } = test;
    const fleet = await Fleet.enrol(world, 2);
    await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const [[device, update] = [], [other] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined || other === undefined) throw new Error("no offers");
    const { signal } = new AbortController();
    const download = await replica.engine.offers.openDownload(device.id, update.id, {
      offset: 100_000,
      limit: 0,
      signal,
    });
    const chunks: Buffer[] = [];
    for await (const { data } of download.pieces) chunks.push(data);
    expect(Buffer.concat(chunks).equals(content.subarray(100_000))).toBe(true);
    expect(download).toMatchObject({ sizeBytes: content.length, offset: 100_000 });
    for (const id of [update.id, randomUUID()]) {
      await expect(
        replica.engine.offers.openDownload(other.id, id, { offset: 0, limit: 0, signal }),
      ).rejects.toMatchObject({ code: "permission_denied", reason: "NOT_OFFERED" });
    }
  });
});

describe("other features", () => {
  it("cancel the update of a device that is retired", async () => {
    await using test = await openReplica();
    const { world, replica } = test;
    const fleet = await Fleet.enrol(world, 1);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const [[device, update] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined) throw new Error("no offer");
    const observer = new StoppedDeviceUpdates(world.clock);
    await replica.database.em().transactional((em) => observer.deviceRetired(em, { id: device.id }));
    replica.changes.publish({ deviceId: device.id, kind: "retired" });
    await until(replica, id, (rollout) => {
      expect(ringOf(rollout, "all").counters).toMatchObject({ cancelled: 1, inProgress: 0 });
      expect(replica.engine.tracker.size).toBe(0);
    });
    await expectExactCounters(world);
  });

  it("learn which firmware is in use", async () => {
    await using test = await openReplica();
    const firmwareId = await release(test.world, "1.1.0");
    const use = new RolloutFirmwareUse();
    const using = () => use.rolloutUsing(test.replica.database.em(), firmwareId);
    expect(await using()).toBeUndefined();
    const { id } = await test.catalog.create(wanted(firmwareId), { actor });
    expect(await using()).toBe(id);
    await test.catalog.abort(call(id));
    expect(await using()).toBeUndefined();
  });

  it("pause what rests on a revoked key, and nothing of it is offered", async () => {
    await using test = await openReplica();
    const { world, replica, catalog } = test;
    const firmwareId = await release(world, "1.1.0");
    await world.database.adminPool.query(
      "INSERT INTO signing_keys (id, name, algorithm, public_key_pem) VALUES ('key', 'k', 'ed25519', '')",
    );
    await world.database.adminPool.query(
      `INSERT INTO firmware_signatures (id, firmware_id, key_id, algorithm, signature)
       VALUES ($1, $2, 'key', 'ed25519', '\\x00')`,
      [randomUUID(), firmwareId],
    );
    const fleet = await Fleet.enrol(world, 2);
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing }));
    const [first, second] = fleet.devices;
    if (first === undefined || second === undefined) throw new Error("no devices");
    expect(await fleet.offers(replica, [first])).toHaveLength(1);
    await world.database.adminPool.query("UPDATE signing_keys SET revoked_at = now()");
    expect(await replica.engine.signingKeyRevoked("key", { actor, reason: "stolen" })).toBe(1);
    expect(await replica.engine.signingKeyRevoked("key", { actor, reason: "stolen" })).toBe(0);
    expect((await catalog.get(id)).stateReason).toBe("signing key key was revoked: stolen");
    expect(await fleet.offers(replica)).toEqual([]);
  });
});

describe("keys that count no more", () => {
  it("pause what rests on them, which goes on once another key has signed it", async () => {
    await using test = await openReplica();
    const { world, replica, catalog } = test;
    const firmwareId = await release(world, "1.1.0");
    const pool = world.database.adminPool;
    const signedBy = async (id: string, expires: string | null): Promise<void> => {
      const { privateKeyPem, publicKeyPem } = generateSigningKey();
      const { rows } = await pool.query("SELECT manifest FROM firmware_updates WHERE id = $1", [firmwareId]);
      const manifest: Buffer = rows[0].manifest ?? Buffer.from("of 1.1.0");
      await pool.query("UPDATE firmware_updates SET manifest = $2 WHERE id = $1", [firmwareId, manifest]);
      await pool.query(
        `INSERT INTO signing_keys (id, name, algorithm, public_key_pem, role, expires_at)
         VALUES ($1, $1, 'ed25519', $2, 'security', $3)`,
        [id, publicKeyPem, expires],
      );
      await pool.query(
        `INSERT INTO firmware_signatures (id, firmware_id, key_id, algorithm, signature)
         VALUES (gen_random_uuid(), $1, $2, 'ed25519', $3)`,
        [firmwareId, id, signManifest(privateKeyPem, manifest)],
      );
    };
    const fleet = await Fleet.enrol(world, 2);
    const [first, second] = fleet.devices;
    if (first === undefined || second === undefined) throw new Error("no devices");
    await signedBy("first", "2026-03-01T01:00:00Z");
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing }));
    await pool.query(
      "INSERT INTO signature_requirements (product, release_signatures, security_signatures) SELECT product, 0, 1 FROM firmware_updates WHERE id = $1",
      [firmwareId],
    );
    await replica.engine.tick();
    expect(await fleet.offers(replica, [first])).toHaveLength(1);

    world.clock.advance(3_600_000);
    await eventually(async () => expect((await catalog.get(id)).state).toBe("PAUSED"));
    expect((await catalog.get(id)).stateReason).toMatch(
      /0 of security keys.*1 more of a key that has expired/,
    );
    expect(await fleet.offers(replica, [second])).toEqual([]);
    const resume = () => catalog.resume({ id, actor, reason: "" });
    await expect(resume()).rejects.toMatchObject({ reason: "FIRMWARE_NOT_SIGNED" });

    await signedBy("second", null);
    await resume();
    await pool.query("UPDATE firmware_updates SET updated_at = now() WHERE id = $1", [firmwareId]);
    await eventually(async () => expect(await fleet.offers(replica, [second])).toHaveLength(1));
    expect((await catalog.get(id)).state).toBe("RUNNING");
  });
});

describe("watching", () => {
  it("sends the rollout now, after changes, and ends with it", async () => {
    await using test = await openReplica();
    const { world, replica, catalog } = test;
    const { id } = await run(replica, wanted(await release(world, "1.1.0")));
    const seen: string[] = [];
    for await (const rollout of replica.engine.watch.watch(id, new AbortController().signal)) {
      seen.push(rollout.state);
      if (rollout.state === "RUNNING") await catalog.pause(call(id));
      if (rollout.state === "PAUSED") await catalog.abort(call(id));
    }
    expect(seen).toEqual(["RUNNING", "PAUSED", "ABORTED"]);
    expect(replica.engine.watch.size).toBe(0);
  });

  it("ends when the caller goes away", async () => {
    await using test = await openReplica();
    const { id } = await run(test.replica, wanted(await release(test.world, "1.1.0")));
    const caller = new AbortController();
    const iterator = test.replica.engine.watch.watch(id, caller.signal);
    await iterator.next();
    const next = iterator.next();
    caller.abort();
    expect(await next).toMatchObject({ done: true });
    expect(test.replica.engine.watch.size).toBe(0);
  });
});
