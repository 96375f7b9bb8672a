import { type ClientRequest, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchResult } from "./harness/result.ts";
import { deviceTokenOf, seedFleet } from "./load/fleet.ts";
import { openLoadStreams } from "./load/heartbeat-load.ts";
import { inParallel } from "./load/raw-client.ts";
import { type ProductReady, startProduct } from "./processes.ts";

/**
 * What update checks cost that wait over REST, a TCP connection each: memory, and CPU and transactions of the whole service while
 * nothing happens. Against as many idle heartbeat streams.
 */
export async function waitingChecks(options: { quick: boolean }): Promise<BenchResult[]> {
  const count = options.quick ? 500 : 1_000;
  const idleMs = options.quick ? 3_000 : 15_000;
  const checks = await costs(count, idleMs, async ({ httpUrl }, from, to) => {
    const open = await openChecks(httpUrl, from, to);
    return () => {
      for (const check of open) check.destroy();
    };
  });
  const streams = await costs(count, idleMs, async ({ grpcAddress }, from, to) => {
    const open = await openLoadStreams(grpcAddress, { from, to, answers: "welcome" });
    return () => {
      for (const { call } of open) call.cancel();
    };
  });
  const note = `${count} checks that wait, against as many idle heartbeat streams`;
  const idle = `${note}, over ${idleMs / 1_000} s`;
  return [
    {
      bench: "waiting-checks",
      value: checks.bytes / 1024,
      unit: "KiB a check",
      floor: streams.bytes / 1024,
      target: "<= 1",
      note,
    },
    {
      bench: "waiting-checks-cpu",
      value: checks.cpuMs,
      unit: "ms of CPU",
      floor: streams.cpuMs,
      target: "<= 1.2",
      note: idle,
    },
    {
      bench: "waiting-checks-database",
      value: checks.transactions,
      unit: "transactions",
      floor: streams.transactions,
      target: "<= 1.2",
      note: `${idle}; the service's rounds alone`,
    },
  ];
}

/** Opens what the devices from one index up to another hold; returns how to end it. */
type Open = (ready: ProductReady, from: number, to: number) => Promise<() => void>;

async function costs(count: number, idleMs: number, open: Open) {
  await using product = await startProduct({
    DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "3600",
    DEVICE_OTA_UPDATE_CHECK_WAIT_SECONDS: "3600",
  });
  const { databaseUrl } = product.ready;
  await seedFleet(databaseUrl, count + warmUp);
  // A few first, so that what is loaded once is not counted against each.
  const endFirst = await open(product.ready, 0, warmUp);
  const before = (await product.usage()).rssBytes;
  const end = await open(product.ready, warmUp, warmUp + count);
  const bytes = ((await product.usage()).rssBytes - before) / count;
  // What the devices said of themselves is written within a second or two.
  await sleep(settleMs);
  const idle = await idleCosts(product, databaseUrl, idleMs);
  end();
  endFirst();
  return { bytes, ...idle };
}

async function idleCosts(product: MeasuredProcess<ProductReady>, databaseUrl: string, idleMs: number) {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const before = await transactionsOf(client);
    const cpuMicros = await product.cpuDuring(() => sleep(idleMs));
    return { cpuMs: cpuMicros / 1_000, transactions: (await transactionsOf(client)) - before };
  } finally {
    await client.end();
  }
}

async function transactionsOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    "SELECT xact_commit + xact_rollback AS count FROM pg_stat_database WHERE datname = current_database()",
  );
  return Number(rows[0]?.count);
}

/** Checks that wait; resolves when the service has read all of them. */
async function openChecks(httpUrl: string, from: number, to: number): Promise<ClientRequest[]> {
  const checks: ClientRequest[] = [];
  await inParallel(to - from, 64, async (offset) => {
    const check = request(`${httpUrl}/api/v1/updates:check`, {
      method: "POST",
      agent: false,
      headers: {
        authorization: `Bearer ${deviceTokenOf(from + offset)}`,
        "content-type": "application/json",
        prefer: "wait=3600",
      },
    });
    check.on("error", () => undefined);
    check.on("response", ({ statusCode }) => {
      throw new Error(`a check did not wait: status ${statusCode}`);
    });
    await new Promise<void>((resolve) => {
      check.end(JSON.stringify({ firmwareVersion: "1.0.0", bootId: "boot" }), resolve);
    });
    checks.push(check);
  });
  while ((await waiting(httpUrl)) < to) await sleep(200);
  return checks;
}

async function waiting(httpUrl: string): Promise<number> {
  const metrics = await (await fetch(`${httpUrl}/metrics`)).text();
  return Number(/^device_ota_waiting_update_checks (\d+)$/m.exec(metrics)?.[1]);
}

const warmUp = 50;

const settleMs = 5_000;
