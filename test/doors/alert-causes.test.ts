import { mkdtempDisposable, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import type { Event } from "../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { selfSigned } from "../../src/cli/self-signed.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { DatabaseProxy } from "../support/database-proxy.ts";
import { connectClient, mintToken, newContent, publish, upload } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { startDevices } from "../support/streaming-device.ts";

/**
 * What really makes alerts fire and end: nothing here writes into the database. One replica reaches the database through a
 * network that can be broken, the other one has a certificate, and tells what the feed of both has.
 */

const { method } = RolloutService;
const failedLooks = /^device_ota_background_runs_total\{work="alerts",outcome="failed"\} [1-9]/m;
const rings = [{ name: "all", percent: 100 }];

let opened: AsyncDisposableStack;
let folder: string;
let network: DatabaseProxy;
let service: TestService;
let secured: TestService;
/** By how much the first replica's clock has jumped ahead. */
let aheadMs = 0;
beforeAll(async () => {
  opened = new AsyncDisposableStack();
  const database = opened.use(await createTestDatabase({ partitioned: true }));
  network = opened.use(await DatabaseProxy.start(database.serviceUrl));
  folder = opened.use(await mkdtempDisposable(join(tmpdir(), "device-ota-causes-"))).path;
  await writeCertificate(2);
  const settings = {
    DEVICE_OTA_ALERT_RESOLVE_SECONDS: "0",
    DEVICE_OTA_ALERT_EXPIRY_DAYS: "5",
    DEVICE_OTA_ALERT_OFFLINE_PERCENT: "100",
    // Content is read every few seconds.
    DEVICE_OTA_SCRUB_HOURS: "0.001",
    DEVICE_OTA_INGEST_STALL_SECONDS: "1",
    DEVICE_OTA_RATE_LIMIT_API: "off",
  };
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  service = opened.use(await startTestService({ databaseUrl: network.url, settings, clock }));
  secured = opened.use(
    await startTestService({
      databaseUrl: database.serviceUrl,
      settings: {
        ...settings,
        // One store for both.
        DEVICE_OTA_DATA_DIR: service.dataDir,
        DEVICE_OTA_TLS_CERT_FILE: join(folder, "certificate"),
        DEVICE_OTA_TLS_KEY_FILE: join(folder, "key"),
        DEVICE_OTA_TLS_RELOAD_SECONDS: "1",
        DEVICE_OTA_TLS_HTTP: "false",
      },
    }),
  );
});
afterAll(() => opened[Symbol.asyncDispose]());

async function writeCertificate(days: number): Promise<void> {
  const { certificate, key } = await selfSigned({ host: ["localhost"], days });
  await writeFile(join(folder, "certificate"), certificate);
  await writeFile(join(folder, "key"), key);
}

/** Reads the feed until it tells that an alert fires, or is resolved. */
async function told(type: "alert.firing" | "alert.resolved", rule: string, resourceId = ""): Promise<Event> {
  const feed = connectClient(secured, AlertService, secured.adminToken);
  for await (const { events } of feed.watchEvents({ cursor: "0" })) {
    const found = events.find(
      (event) => event.type === type && event.details["rule"] === rule && event.resourceId === resourceId,
    );
    if (found !== undefined) return found;
  }
  throw new Error("the feed ended");
}

describe("an alert fires for its cause and ends with it", () => {
  it("rollout.awaits_approval: until somebody else approves", async () => {
    const { id: firmwareId } = await publish(service, newContent(100));
    const creator = service.client((await mintToken(service, Role.OPERATOR)).secret);
    const { rollout } = await creator.unary(method.createRollout, {
      firmwareId,
      rings: rings.map((ring) => ({ ...ring, gate: { requireApproval: true } })),
    });
    const id = rollout?.id ?? "";
    await creator.unary(method.startRollout, { id });
    const { summary } = await told("alert.firing", "rollout.awaits_approval", id);
    expect(summary).toContain("waits for an approval before it starts");
    const colleague = await mintToken(service, Role.OPERATOR);
    await service.client(colleague.secret).unary(method.approveRollout, { id });
    await told("alert.resolved", "rollout.awaits_approval", id);
    await service.client().unary(method.abortRollout, { id });
  });

  it("rollout.rolled_back: devices fail, and the rollout goes back by itself; until it is put away", async () => {
    const rpc = service.client();
    const { id: firmwareId, product } = await publish(service, newContent(100));
    const device = await PolledDevice.enrol(rpc, service.enrolmentKey);
    const { rollout } = await rpc.unary(method.createRollout, {
      firmwareId,
      rings,
      targeting: { groups: [await device.joinGroup(rpc, product)] },
      policy: { failureThresholdPercent: 0, failureMinSample: 1 },
    });
    const id = rollout?.id ?? "";
    await rpc.unary(method.startRollout, { id });
    await eventually(() => device.expectOffer(service));
    await device.report(service, DeviceUpdateState.FAILED);
    const { summary } = await told("alert.firing", "rollout.rolled_back", id);
    expect(summary).toMatch(/ is rolled back: \S/);
    await eventually(() => rpc.unary(method.archiveRollout, { id }));
    await told("alert.resolved", "rollout.rolled_back", id);
  });

  it("rollout.attention: what a rollout brings is recalled; until it is reinstated and the rollout resumed", async () => {
    const rpc = service.client();
    const { id: firmwareId, product } = await publish(service, newContent(100));
    const { id: replacementId } = await publish(service, newContent(100), { product, version: "1.2.0" });
    const { rollout } = await rpc.unary(method.createRollout, { firmwareId, rings });
    const id = rollout?.id ?? "";
    await rpc.unary(method.startRollout, { id });
    const recall = { id: firmwareId, replacementId, reason: "it burns" };
    await rpc.unary(FirmwareService.method.recallFirmware, recall);
    const { summary } = await told("alert.firing", "rollout.attention", id);
    expect(summary).toContain("it brings what no device may run");
    await rpc.unary(FirmwareService.method.reinstateFirmware, { id: firmwareId });
    await rpc.unary(method.resumeRollout, { id });
    await told("alert.resolved", "rollout.attention", id);
    await rpc.unary(method.abortRollout, { id });
  });

  it("firmware.damaged: a byte of the stored content turned; until it is uploaded again", async () => {
    const content = newContent(100_000);
    const { id, sha256 } = await publish(service, content);
    const file = join(service.dataDir, "storage", "firmware", "sha256", sha256.slice(0, 2), sha256);
    const stored = await readFile(file);
    stored[50_000] = (stored[50_000] ?? 0) ^ 1;
    await writeFile(file, stored);
    const { summary } = await told("alert.firing", "firmware.damaged", id);
    expect(summary).toContain("is damaged or missing; upload it again");
    await upload(service.client(), id, content);
    await told("alert.resolved", "firmware.damaged", id);
  });

  it("ingest.lag: the database takes no heartbeats; until it does", async () => {
    const held = network.hold("before-commit");
    const [device] = await startDevices(service, 1);
    await using _ = device;
    const goOn = await held;
    const { summary } = await told("alert.firing", "ingest.lag");
    expect(summary).toMatch(/^no heartbeat was stored for \d+ s, and \d+ wait: /);
    goOn();
    await told("alert.resolved", "ingest.lag");
    await eventually(() => expect(device?.acked).toBeGreaterThan(0));
  });

  it("certificate.expires: it ends soon; until there is another one, which both ports speak with", async () => {
    const { summary } = await told("alert.firing", "certificate.expires");
    expect(summary).toMatch(/^the certificate of the ports ends at \d{4}-\d\d-\d\dT\d\d:\d\d UTC$/);
    await writeCertificate(90);
    await told("alert.resolved", "certificate.expires");
  });

  it("database.down: a replica did not reach it; told once it does, and for ten minutes", async () => {
    network.network.refuse();
    network.network.cut();
    await eventually(async () => {
      const metrics = await (await fetch(`${service.httpUrl}/metrics`)).text();
      expect(metrics).toMatch(failedLooks);
    });
    // What is shorter than a second needs nobody.
    aheadMs += 5_000;
    network.network.heal();
    const { summary } = await told("alert.firing", "database.down");
    expect(summary).toMatch(/^the database did not answer for \d+ s, until /);
    aheadMs += 10 * 60_000;
    await told("alert.resolved", "database.down");
  });
});
