import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import {
  CheckForUpdateRequestSchema,
  CheckForUpdateResponseSchema,
  NoOfferReason,
} from "../gen/ota/v1/update_service_pb.js";
import { RpcClient } from "../src/client/rpc-client.ts";
import type { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchResult } from "./harness/result.ts";
import { releaseFirmware } from "./load/admin.ts";
import { deviceTokenOf, seedFleet } from "./load/fleet.ts";
import { asIs, bearer, connect, inParallel } from "./load/raw-client.ts";
import { startFloor, startProduct } from "./processes.ts";

/** How many active rollouts there are, one figure each. */
const rolloutCounts = [1, 10, 100];

const rounds = 4;

/**
 * CPU of the server for each CheckForUpdate that has nothing to offer, with few and many active rollouts, against an empty
 * unary method of bare grpc-js with the same messages.
 */
export async function updateCheck(options: { quick: boolean }): Promise<BenchResult[]> {
  const devices = options.quick ? 10_000 : 100_000;
  const calls = options.quick ? 3_000 : 20_000;
  await using product = await startProduct({ DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "100000/minute" });
  await seedFleet(product.ready.databaseUrl, devices);
  using admin = new RpcClient({ address: product.ready.grpcAddress, token: product.ready.adminToken });
  await using floor = await startFloor({});
  const results: BenchResult[] = [];
  let active = 0;
  for (const rollouts of rolloutCounts) {
    await startRollouts(admin, active, rollouts);
    active = rollouts;
    // In turn, so that a drift of the machine's speed meets both alike; the least counts, since noise only adds.
    const values: number[] = [];
    const floors: number[] = [];
    for (let round = 0; round < rounds; round++) {
      values.push(await microsPerCall(product, devices, calls, true));
      floors.push(await microsPerCall(floor, devices, calls, false));
    }
    results.push({
      bench: `update-check-${rollouts}`,
      value: Math.min(...values),
      unit: "us CPU a call",
      floor: Math.min(...floors),
      target: "<= 1.5",
      note: `${rollouts} active rollouts, ${devices} devices, nothing to offer`,
    });
  }
  return results;
}

/** Rollouts `from` to `to`, each of a version that the devices are past. */
async function startRollouts(admin: RpcClient, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) {
    const firmware = await releaseFirmware(admin, {
      product: "bench-os",
      version: `0.9.${index}`,
      deviceTypes: ["bench"],
      bytes: randomBytes(1024),
    });
    const { rollout } = await admin.unary(RolloutService.method.createRollout, { firmwareId: firmware.id });
    await admin.unary(RolloutService.method.startRollout, { id: rollout?.id ?? "" });
  }
}

async function microsPerCall(
  server: MeasuredProcess<{ grpcAddress: string }>,
  devices: number,
  calls: number,
  check: boolean,
): Promise<number> {
  const client = connect(server.ready.grpcAddress);
  const request = Buffer.from(
    toBinary(
      CheckForUpdateRequestSchema,
      create(CheckForUpdateRequestSchema, { firmwareVersion: "1.0.0", bootId: "boot" }),
    ),
  );
  const stride = Math.max(1, Math.floor(devices / calls));
  const call = (index: number) =>
    new Promise<void>((resolve, reject) => {
      client.makeUnaryRequest<Buffer, Buffer>(
        "/ota.v1.UpdateService/CheckForUpdate",
        asIs,
        asIs,
        request,
        bearer(deviceTokenOf((index * stride) % devices)),
        (error, response) => {
          if (error !== null) return reject(error);
          if (check) expectNothing(response);
          resolve();
        },
      );
    });
  // The first call of a device reads it from the database; the second is what is measured.
  await inParallel(Math.min(calls, devices), 64, call);
  const micros = await server.cpuDuring(() => inParallel(calls, 64, call));
  client.close();
  return micros / calls;
}

function expectNothing(response: Buffer | undefined): void {
  const { offer, noOfferReason } = fromBinary(CheckForUpdateResponseSchema, response ?? new Uint8Array());
  if (offer !== undefined || noOfferReason !== NoOfferReason.UP_TO_DATE) {
    throw new Error(`expected nothing to offer, got reason ${noOfferReason}`);
  }
}
