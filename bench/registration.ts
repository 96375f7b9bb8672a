import { randomUUID } from "node:crypto";
import pg from "pg";
import { AccessService } from "../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../gen/ota/v1/device_service_pb.js";
import { RpcClient } from "../src/client/rpc-client.ts";
import { type Cost, costOf } from "./harness/cost.ts";
import { PostgresCpu } from "./harness/postgres-cpu.ts";
import type { BenchResult } from "./harness/result.ts";
import { inParallel } from "./load/raw-client.ts";
import { registrationFloor, startProduct } from "./processes.ts";

/** Devices of one call of CreateDevices. */
const batchRows = 1_000;

/** How many enrol at once. */
const enrolling = 8;

/**
 * CPU of service and PostgreSQL for each device that is registered together with many others, and for each that enrols by
 * itself, against plain INSERTs of the same rows in a transaction for as many.
 */
export async function registration(options: { quick: boolean }): Promise<BenchResult[]> {
  const single = options.quick ? 500 : 2_000;
  const bulk = options.quick ? 10_000 : 50_000;
  await using product = await startProduct({ DEVICE_OTA_RATE_LIMIT_ENROL: "off" });
  const { databaseUrl, grpcAddress, adminToken } = product.ready;
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  try {
    const postgres = await PostgresCpu.of(database);
    const measured = { product, postgres };
    using client = new RpcClient({ address: grpcAddress, token: adminToken });
    const key = await client.unary(AccessService.method.createEnrolmentKey, { name: "bench" });
    const enrol = (devices: number) =>
      inParallel(devices, enrolling, async () => {
        const board = { ...newDevice(), firmwareVersion: "1.0.0" };
        await client.unary(DeviceService.method.enrolDevice, {
          requestId: randomUUID(),
          enrolmentKey: key.secret,
          ...board,
        });
      });
    const create = async (devices: number) => {
      for (let made = 0; made < devices; made += batchRows) {
        const rows = Array.from({ length: batchRows }, newDevice);
        await client.unary(DeviceService.method.createDevices, { requestId: randomUUID(), devices: rows });
      }
    };
    await enrol(single);
    await create(2 * batchRows);
    const enrolled = await costOf(measured, () => enrol(single));
    const created = await costOf(measured, () => create(bulk));
    const floor = await registrationFloor({ url: databaseUrl, single, bulk, batchRows });
    return [
      result("enrolment", "<= 2", single, enrolled, floor.single),
      result("registration", `>= 2,000/s`, bulk, created, floor.bulk),
    ];
  } finally {
    await database.end();
  }
}

function newDevice() {
  return { serialNumber: randomUUID(), deviceType: "bench", hardwareModel: "bench" };
}

function result(bench: string, target: string, devices: number, cost: Cost, floor: Cost): BenchResult {
  const micros = (each: Cost) => (each.serviceMicros + each.postgresMicros) / devices;
  const perSecond = ((devices / cost.milliseconds) * 1_000).toFixed(0);
  return {
    bench,
    value: micros(cost),
    unit: "us CPU a device",
    floor: micros(floor),
    target,
    note: `${perSecond}/s; service ${(cost.serviceMicros / devices).toFixed(0)} us, PostgreSQL ${(cost.postgresMicros / devices).toFixed(0)} us`,
  };
}
