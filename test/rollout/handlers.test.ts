import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { crc32c } from "@node-rs/crc32";
import { describe, expect, it } from "vitest";
import {
  DeviceUpdateState,
  RingState,
  type Rollout,
  RolloutState,
  UpdateAction,
} from "../../gen/ota/v1/rollout_pb.js";
import { type CheckForUpdateResponse, NoOfferReason } from "../../gen/ota/v1/update_service_pb.js";
import type { CallContext, Endpoint } from "../../src/api/pipeline/endpoint.ts";
import type { Identity } from "../../src/call/identity.ts";
import { PageTokens } from "../../src/call/page-token.ts";
import type { Piece } from "../../src/firmware/download-piece.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { deployEndpoints } from "../../src/rollout/decide/deploy-handlers.ts";
import { rolloutEndpoints } from "../../src/rollout/decide/rollout-handlers.ts";
import { downloadOpener, updateEndpoints } from "../../src/rollout/offer/update-handlers.ts";
import { WaitingChecks } from "../../src/rollout/offer/waiting-checks.ts";
import { bootIdOf, content, Fleet, logger, openReplica, release, until } from "./rollout-fixture.ts";

const operator: Identity = { kind: "operator", tokenId: "t", name: "ada", role: "operator" };

async function open() {
  await using cleanup = new AsyncDisposableStack();
  const { world, replica } = cleanup.use(await openReplica());
  const counted: string[] = [];
  const label = (value: string) => ({ inc: () => void counted.push(value) });
  const { offers, catalog, watch, hearing, health, foresight } = replica.engine;
  const parts = {
    offers,
    directUrls: { of: async () => undefined },
    metrics: {
      checks: { labels: label },
      downloadedBytes: { labels: label },
      directDownloads: { labels: label },
    },
    waiting: new WaitingChecks(),
    places: { take: () => ({ release: () => undefined }) },
    clock: systemClock,
    longestWaitMs: 0,
  };
  const pageTokens = new PageTokens(Buffer.alloc(32));
  const endpoints = new Map(
    [
      ...rolloutEndpoints({
        catalog,
        watch,
        pageTokens,
        hearing,
        health,
        foresight,
        heavyReads: replica.database.heavyReads,
      }),
      ...updateEndpoints(parts),
      ...deployEndpoints({ catalog, hearing, foresight }),
    ].map((endpoint) => [endpoint.method.localName, endpoint]),
  );
  const endpointOf = (name: string): Endpoint => {
    const endpoint = endpoints.get(name);
    if (endpoint === undefined) throw new Error(`no endpoint ${name}`);
    return endpoint;
  };
  const contextOf = (identity: Identity): CallContext => ({
    identity,
    requestId: "r",
    signal: new AbortController().signal,
    peer: "127.0.0.1",
    door: "grpc",
    logger,
    lasts: () => undefined,
    waited: () => undefined,
  });
  /** The answer of a unary method as a client would get it. */
  const call = async <Answer>(name: string, identity: Identity, request: object): Promise<Answer> => {
    const endpoint = endpointOf(name);
    if (endpoint.kind !== "unary") throw new Error(`${name} is not unary`);
    const message = create(endpoint.method.input, request as MessageInitShape<DescMessage>);
    return create(endpoint.method.output, await endpoint.handle(message, contextOf(identity))) as Answer;
  };
  const owned = cleanup.move();
  return {
    world,
    replica,
    counted,
    parts,
    call,
    endpointOf,
    contextOf,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe("the endpoints", () => {
  it("take a device from deployment to success", async () => {
    await using test = await open();
    const { world, replica, call } = test;
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 1);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const identity: Identity = { kind: "device", deviceId: device.id, credentialId: "c" };
    const reading = () => ({
      firmwareVersion: device.version,
      bootId: bootIdOf(device),
      securityCounter: 0n,
    });
    const none = await call<CheckForUpdateResponse>("checkForUpdate", identity, reading());
    expect(none).toMatchObject({ noOfferReason: NoOfferReason.UP_TO_DATE });
    expect(none.offer).toBeUndefined();

    const rings = [
      { name: "all", percent: 100, gate: { minSample: 1, minSuccessPercent: 50, soakDuration: {} } },
    ];
    const deployed = await call<{ rollout: Rollout }>("deployFirmware", operator, { id: firmwareId, rings });
    expect(deployed.rollout).toMatchObject({ state: RolloutState.RUNNING, version: "1.1.0", etag: "2" });
    const { id } = deployed.rollout;
    await until(replica, id, () => expect(replica.engine.index.get(id)).toBeDefined());

    const { offer, retryAfter } = await call<CheckForUpdateResponse>("checkForUpdate", identity, reading());
    if (offer === undefined || retryAfter === undefined) throw new Error("no offer");
    expect(offer).toMatchObject({ action: UpdateAction.INSTALL, rolloutId: id, version: "1.1.0" });
    expect(offer.downloadPath).toBe(`/api/v1/updates/${offer.updateId}/content`);
    expect(durationMs(retryAfter)).toBeGreaterThan(0);
    expect(test.counted).toEqual(["UP_TO_DATE", "OFFER"]);

    for (const state of [DeviceUpdateState.DOWNLOADING, DeviceUpdateState.INSTALLING]) {
      expect(await call("reportUpdateStatus", identity, { updateId: offer.updateId, state })).toMatchObject({
        state,
      });
    }
    await expect(
      call("reportUpdateStatus", identity, { updateId: offer.updateId, state: DeviceUpdateState.FAILED }),
    ).rejects.toMatchObject({ fields: [{ field: "failure_reason" }] });
    fleet.reboot(device, "1.1.0");
    fleet.beat(replica);
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
    world.clock.advance(5 * 60_000);
    fleet.beat(replica);
    await until(replica, id, ({ state }) => expect(state).toBe("COMPLETED"));

    const { rollout } = await call<{ rollout: Rollout }>("getRollout", operator, { id });
    expect(rollout.rings[0]).toMatchObject({ state: RingState.PASSED, percent: 100, gateStatus: "passed" });
    expect(rollout.rings[0]?.counters).toMatchObject({ offered: 1n, succeeded: 1n, inProgress: 0n });
    const { deviceUpdates } = await call<{ deviceUpdates: object[] }>("listDeviceUpdates", operator, {
      rolloutId: id,
    });
    expect(deviceUpdates).toMatchObject([
      { deviceId: device.id, state: DeviceUpdateState.SUCCEEDED, ring: "all", fromVersion: "1.0.0" },
    ]);
  });

  it("list rollouts page by page, with tokens that fit only their list", async () => {
    await using test = await open();
    const firmwareId = await release(test.world, "1.1.0");
    const ids: string[] = [];
    for (const name of ["a", "b", "c"]) {
      const { rollout } = await test.call<{ rollout: Rollout }>("createRollout", operator, {
        firmwareId,
        name,
      });
      ids.unshift(rollout.id);
    }
    type Page = { rollouts: Rollout[]; nextPageToken: string };
    const first = await test.call<Page>("listRollouts", operator, { pageSize: 2 });
    const second = await test.call<Page>("listRollouts", operator, {
      pageSize: 2,
      pageToken: first.nextPageToken,
    });
    expect([...first.rollouts, ...second.rollouts].map(({ id }) => id)).toEqual(ids);
    expect(second.nextPageToken).toBe("");
    await expect(
      test.call("listRollouts", operator, { states: [RolloutState.DRAFT], pageToken: first.nextPageToken }),
    ).rejects.toMatchObject({ reason: "INVALID_PAGE_TOKEN" });

    const other = { firmwareId: await release(test.world, "1.2.0"), name: "d" };
    const { rollout } = await test.call<{ rollout: Rollout }>("createRollout", operator, other);
    const found = await test.call<Page>("listRollouts", operator, { firmwareVersion: "1.2.0" });
    expect(found.rollouts.map(({ id }) => id)).toEqual([rollout.id]);
    expect(await test.call<Page>("listRollouts", operator, { firmwareVersion: "1.2" })).toMatchObject({
      rollouts: [],
    });
  });

  it("send the content as header and chunks with checksums, and over HTTP the same", async () => {
    await using test = await open();
    const { world, replica, call } = test;
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 1);
    const identity: Identity = { kind: "device", deviceId: fleet.devices[0]?.id ?? "", credentialId: "c" };
    const { rollout } = await call<{ rollout: Rollout }>("deployFirmware", operator, {
      id: firmwareId,
      rings: [{ name: "all", percent: 100 }],
    });
    await until(replica, rollout.id, () => expect(replica.engine.index.get(rollout.id)).toBeDefined());
    const { offer } = await call<CheckForUpdateResponse>("checkForUpdate", identity, {
      firmwareVersion: "1.0.0",
    });
    if (offer === undefined) throw new Error("no offer");
    const endpoint = test.endpointOf("downloadFirmware");
    if (endpoint.kind !== "server_stream") throw new Error("not a stream");
    const request = create(endpoint.method.input, { updateId: offer.updateId, offset: 1_000n } as Record<
      string,
      unknown
    >);
    type Part = { message: { case: string; value: { data: Buffer; crc32c: number; offset: bigint } } };
    const parts: Part["message"][] = [];
    for await (const part of endpoint.handle(request, test.contextOf(identity)))
      parts.push((part as Part).message);
    const header = parts.shift()?.value;
    const received = parts.map(({ value }) => value.data);
    let at = 1_000;
    for (const { value } of parts) {
      expect(value.crc32c).toBe(crc32c(value.data));
      expect(value.offset).toBe(BigInt(at));
      at += value.data.length;
    }
    expect(header).toMatchObject({ sizeBytes: BigInt(content.length), offset: 1_000n });
    expect(Buffer.concat(received).equals(content.subarray(1_000))).toBe(true);

    const openDownload = downloadOpener(test.parts);
    const { signal } = new AbortController();
    const download = await openDownload(offer.updateId, identity, signal);
    expect(download.sizeBytes).toBe(content.length);
    const range: Buffer[] = [];
    for await (const chunk of download.read(10, 20)) range.push((chunk as Piece).data);
    expect(Buffer.concat(range).equals(content.subarray(10, 30))).toBe(true);
    for (const strange of ["nonsense", firmwareId]) {
      await expect(openDownload(strange, identity, signal)).rejects.toMatchObject({ reason: "NOT_OFFERED" });
    }
  });
});
