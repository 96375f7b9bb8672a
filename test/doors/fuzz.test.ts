import { randomInt } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import {
  type EnrolledDevice,
  enrolDevice,
  http,
  mintToken,
  newContent,
  publish,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { liveBytes } from "../support/live-bytes.ts";
import { OidcIssuer } from "../support/oidc-issuer.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type FuzzCall, FuzzCalls, type FuzzSubjects } from "./fuzz-calls.ts";
import { faultOf, Knocker } from "./knocking.ts";
import { Random } from "./random.ts";
import { seedRequests } from "./seed-requests.ts";

/*
 * Calls by chance at every door, by every kind of caller, whole and damaged, some taken back: nothing breaks, nothing is left
 * behind, and a healthy device is heard all the while. `make fuzz` plays more of them, or those of one seed again.
 */

vi.setConfig({ testTimeout: 24 * 3_600_000 });

const calls = Number(process.env["FUZZ_CALLS"] ?? 3_500);
const seeds =
  process.env["FUZZ_SEED"] === undefined ? [1, randomInt(2 ** 32)] : [Number(process.env["FUZZ_SEED"])];

let issuer: OidcIssuer;
let service: TestService;
let subjects: FuzzSubjects;
let healthy: EnrolledDevice;

beforeAll(async () => {
  const off = [
    "HEARTBEAT",
    "UPDATE_CHECK",
    "ENROL",
    "API",
    "DEVICE_READ",
    "DOWNLOAD",
    "SIGN_IN",
    "CREDENTIAL",
  ];
  issuer = await OidcIssuer.start();
  service = await startTestService({
    settings: {
      ...issuer.settings,
      ...Object.fromEntries(off.map((name) => [`DEVICE_OTA_RATE_LIMIT_${name}`, "off"])),
    },
  });
  const operator = service.client();
  const [device, other, blocked] = await Promise.all([1, 2, 3].map(() => enrolDevice(service)));
  healthy = await enrolDevice(service, { deviceType: "pump" });
  const firmware = await publish(service, newContent(100));
  const { rollout } = await operator.unary(RolloutService.method.createRollout, { firmwareId: firmware.id });
  await operator.unary(DeviceService.method.blockDevice, { id: blocked?.id ?? "", reason: "a test" });
  const ids = {
    device: device?.id ?? "",
    other: other?.id ?? "",
    firmware: firmware.id,
    rollout: rollout?.id ?? "",
  };
  subjects = {
    methods: [...contractServices, Health, ServerReflection].flatMap(({ methods }) => methods),
    seeds: seedRequests({ ...ids, enrolmentKey: service.enrolmentKey }),
    tokens: {
      nobody: undefined,
      stranger: "ota_dev_0000000000000000000000000000000000000000000",
      device: device?.token,
      "blocked device": blocked?.token,
      viewer: (await mintToken(service, Role.VIEWER)).secret,
      operator: (await mintToken(service, Role.OPERATOR)).secret,
      administrator: service.adminToken,
    },
    // What is done to a device is done to another one: those that call go on.
    known: [ids.other, ids.firmware, ids.rollout, firmware.product, "thermostat", "1.1.0", "battery_percent"],
  };
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

it.each(seeds)("the calls of seed %i break nothing, leave nothing behind, and stop nobody", async (seed) => {
  process.stdout.write(`played again by: make fuzz FUZZ_SEED=${seed} FUZZ_CALLS=${calls}\n`);
  await play(seed, 200);
  const before = {
    handles: process.getActiveResourcesInfo().length,
    bytes: liveBytes(),
    files: await openFiles(),
  };
  const stop = new AbortController();
  const heard = beat(stop.signal);
  const { faults, tally } = await play(seed, calls).finally(() => stop.abort());
  expect(faults).toEqual([]);
  // Nothing was so badly framed that it never came to the service.
  for (const door of ["gRPC", "Connect", "gRPC-Web", "REST", "HTTP"])
    expect([door, (tally.get(door)?.get("ok") ?? 0) > 0]).toEqual([door, true]);
  expect(await heard).toBeGreaterThan(0);
  await expectNothingLeft(before);
  for (const [door, ends] of tally)
    process.stdout.write(`${door}: ${[...ends].map(([how, count]) => `${count} ${how}`).join(", ")}\n`);
});

/** Plays the first calls of a seed, some at once; what went wrong, and how the calls of each door ended. */
async function play(seed: number, count: number) {
  using knocker = new Knocker(service);
  const drawn = new FuzzCalls(new Random(seed), subjects);
  const faults: string[] = [];
  const tally = new Map<string, Map<string, number>>();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0 && faults.length < 20) {
      const call: FuzzCall = drawn.next();
      const answer = await call.knock(knocker);
      const fault = faultOf(answer);
      if (fault !== undefined) faults.push(`${fault} <- ${call.what}`);
      const ends = tally.get(call.door) ?? new Map<string, number>();
      tally.set(call.door, ends);
      const isOk = answer.end === "answered" && (answer.code ?? 0) === 0 && (answer.httpStatus ?? 0) < 300;
      const how = isOk ? "ok" : `${answer.end} ${answer.code ?? answer.httpStatus ?? ""}`;
      ends.set(how, (ends.get(how) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return { faults, tally };
}

/** A device that does all as it should. Rejects as soon as a heartbeat of its is not acknowledged. */
async function beat(signal: AbortSignal): Promise<bigint> {
  const client = service.client(healthy.token);
  let sequence = firstSequence;
  while (!signal.aborted) {
    sequence++;
    const { ack } = await client.unary(HeartbeatService.method.sendHeartbeat, {
      heartbeats: [{ sequence, firmwareVersion: "1.0.0" }],
    });
    expect(ack?.ackedThrough).toBe(sequence);
    await delay(20);
  }
  const acknowledged = sequence - firstSequence;
  firstSequence = sequence;
  return acknowledged;
}

/** How far the healthy device's heartbeats are numbered. */
let firstSequence = 0n;

async function expectNothingLeft(before: { handles: number; bytes: number; files: number }): Promise<void> {
  await eventually(async () => {
    const { body } = await http(service, "GET", "/metrics");
    const open = String(body)
      .split("\n")
      .filter((line) => line.startsWith("device_ota_open_streams{") && !line.endsWith(" 0"));
    expect(open).toEqual([]);
  });
  const watcher = new pg.Client(service.databaseUrl);
  await watcher.connect();
  try {
    await eventually(async () => {
      const { rows } = await watcher.query(
        `SELECT state, query FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`,
      );
      expect(rows).toEqual([]);
    });
  } finally {
    await watcher.end();
  }
  await eventually(async () => expect(await openFiles()).toBeLessThanOrEqual(before.files + 8));
  await eventually(() =>
    expect(process.getActiveResourcesInfo().length).toBeLessThanOrEqual(before.handles + 16),
  );
  // What is remembered of callers, devices and rollouts has bounds of its own; a message kept for each call would be more.
  expect(liveBytes() - before.bytes).toBeLessThan(64 * 1024 * 1024);
}

/** Files and sockets that this process has open. */
async function openFiles(): Promise<number> {
  return (await readdir(join("/proc/self/fd"))).length;
}
