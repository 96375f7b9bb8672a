import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DeviceUpdateState } from "../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import {
  CheckForUpdateRequestSchema,
  CheckForUpdateResponseSchema,
  ReportUpdateStatusRequestSchema,
  ReportUpdateStatusResponseSchema,
} from "../gen/ota/v1/update_service_pb.js";
import type { UpdateFloorReady } from "./floors/update-floor.ts";
import { type Cost, costOf } from "./harness/cost.ts";
import { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { releaseFirmware } from "./load/admin.ts";
import { deviceTokenOf } from "./load/fleet.ts";
import { asIs, bearer, connect, inParallel } from "./load/raw-client.ts";
import { type RunningFleet, startFleet } from "./load/running-fleet.ts";
import { startFloor } from "./processes.ts";

/** Devices that ask or report at the same time; the floor's batches are of as many rows. */
const width = 256;

/**
 * Offers made and outcomes taken, each with its durable row and its ring's exact counters, against a plain INSERT and a
 * plain UPDATE of the same rows plus an empty unary call of bare grpc-js for each.
 */
export async function rolloutOutcomes({ quick }: BenchOptions): Promise<BenchResult[]> {
  const devices = quick ? 2_000 : 10_000;
  await using running = await startFleet(devices, {
    settings: { DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "100000/minute" },
  });
  await using floor = await startFloor({});
  const bare = new Calls(floor.ready.grpcAddress);
  const emptyCalls = () => inParallel(devices, width, async (index) => void (await bare.check(index)));
  await emptyCalls();
  const emptyMicros = await floor.cpuDuring(emptyCalls);
  bare.close();

  const calls = new Calls(running.product.ready.grpcAddress);
  // The first call of a device reads it from the database.
  await inParallel(devices, width, async (index) => void (await calls.check(index)));
  // Once unmeasured, so that the service is as warm as the floors.
  await offersAndOutcomes(running, calls, "2.0.0");
  const { rolloutId, offers, outcomes } = await offersAndOutcomes(running, calls, "3.0.0");
  calls.close();

  await using rows = await MeasuredProcess.start<UpdateFloorReady>(
    new URL("./floors/update-floor.ts", import.meta.url),
    { url: running.product.ready.databaseUrl, rolloutId, batchRows: width },
  );
  const { insert, update } = rows.ready;
  const each = (micros: number) => micros / devices;
  return [
    ...resultsOf("offer", "INSERT", { devices, cost: offers, rows: insert, emptyMicros: each(emptyMicros) }),
    ...resultsOf("outcome", "UPDATE", {
      devices,
      cost: outcomes,
      rows: update,
      emptyMicros: each(emptyMicros),
    }),
  ];
}

function resultsOf(
  name: string,
  statement: string,
  measured: {
    readonly devices: number;
    readonly cost: Cost;
    readonly rows: Cost;
    readonly emptyMicros: number;
  },
): BenchResult[] {
  const { devices, cost, rows, emptyMicros } = measured;
  const service = cost.serviceMicros / devices;
  const postgres = cost.postgresMicros / devices;
  const statementMicros = (rows.serviceMicros + rows.postgresMicros) / devices;
  return [
    {
      bench: `${name}-cpu`,
      value: service + postgres,
      unit: `us CPU an ${name}`,
      floor: statementMicros + emptyMicros,
      target: "<= 2",
      note:
        `service ${service.toFixed(0)}, PostgreSQL ${postgres.toFixed(0)}, against ${statement} ` +
        `${statementMicros.toFixed(0)} and empty call ${emptyMicros.toFixed(0)}; ${devices} devices, ${width} at once`,
    },
    {
      bench: `${name}-rate`,
      value: (devices * 1_000) / cost.milliseconds,
      unit: "a second",
      floor: (devices * 1_000) / rows.milliseconds,
      target: "",
      note: `durable and counted, by gRPC with the load on the same cores, against rows of the ${statement} alone`,
    },
  ];
}

/** Offers an update to every device, then has every device report that it failed. */
async function offersAndOutcomes(
  running: RunningFleet,
  calls: Calls,
  version: string,
): Promise<{ rolloutId: string; offers: Cost; outcomes: Cost }> {
  const { admin, devices } = running;
  const { method } = RolloutService;
  const firmware = await releaseFirmware(admin, {
    product: "bench-os",
    version,
    deviceTypes: ["bench"],
    bytes: randomBytes(256),
  });
  const { rollout } = await admin.unary(method.createRollout, {
    firmwareId: firmware.id,
    rings: [{ name: "all", percent: 100, gate: { manual: true } }],
    // No share of failures is above 100 %: the rollout goes on.
    policy: { failureThresholdPercent: 100 },
  });
  const rolloutId = rollout?.id ?? "";
  await admin.unary(method.startRollout, { id: rolloutId });
  const updateIds: string[] = [];
  const offers = await costOf(running, () =>
    inParallel(devices, width, async (index) => {
      const updateId = await calls.check(index);
      if (updateId === undefined) throw new Error("expected an offer");
      updateIds[index] = updateId;
    }),
  );
  const outcomes = await costOf(running, () =>
    inParallel(devices, width, (index) => calls.fail(index, updateIds[index] ?? "")),
  );
  const counted = await admin.unary(method.getRollout, { id: rolloutId });
  const counters = counted.rollout?.rings[0]?.counters;
  if (Number(counters?.failed) !== devices || Number(counters?.offered) !== devices) {
    throw new Error(`expected ${devices} failures, got ${counters?.failed} of ${counters?.offered}`);
  }
  await admin.unary(method.abortRollout, { id: rolloutId });
  return { rolloutId, offers, outcomes };
}

/** Devices' calls over one connection. */
class Calls {
  readonly #client: ReturnType<typeof connect>;

  constructor(address: string) {
    this.#client = connect(address);
  }

  /** Asks for an update; returns the id of the one offered. */
  async check(device: number): Promise<string | undefined> {
    const response = await this.#call("CheckForUpdate", checkRequest, device);
    return fromBinary(CheckForUpdateResponseSchema, response).offer?.updateId;
  }

  /** Reports that the update failed. */
  async fail(device: number, updateId: string): Promise<void> {
    const request = { updateId, state: DeviceUpdateState.FAILED, failureReason: "BENCH" };
    const response = await this.#call(
      "ReportUpdateStatus",
      toBinary(ReportUpdateStatusRequestSchema, create(ReportUpdateStatusRequestSchema, request)),
      device,
    );
    const { state } = fromBinary(ReportUpdateStatusResponseSchema, response);
    if (state !== DeviceUpdateState.FAILED) throw new Error(`expected a failed update, got state ${state}`);
  }

  close(): void {
    this.#client.close();
  }

  #call(method: string, request: Uint8Array, device: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest<Buffer, Buffer>(
        `/ota.v1.UpdateService/${method}`,
        asIs,
        asIs,
        Buffer.from(request),
        bearer(deviceTokenOf(device)),
        (error, response) => (error === null ? resolve(response ?? Buffer.alloc(0)) : reject(error)),
      );
    });
  }
}

const checkRequest = toBinary(
  CheckForUpdateRequestSchema,
  create(CheckForUpdateRequestSchema, { firmwareVersion: "1.0.0", bootId: "boot" }),
);
