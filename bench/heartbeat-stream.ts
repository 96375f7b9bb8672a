import pg from "pg";
import { costOf } from "./harness/cost.ts";
import type { BenchOptions } from "./harness/options.ts";
import { PostgresCpu } from "./harness/postgres-cpu.ts";
import type { BenchResult } from "./harness/result.ts";
import { sendAcked, sendDecoded } from "./load/closed-loop.ts";
import { deviceIdOf, seedFleet } from "./load/fleet.ts";
import { openLoadStreams } from "./load/heartbeat-load.ts";
import { ingestFloor, startFloor, startProduct } from "./processes.ts";

const streamCount = 200;

/** Rows in a batch of the bare transaction: what the service reaches under the same load. */
const floorBatchRows = 1_000;

/**
 * CPU of the service and of PostgreSQL for each durable heartbeat, one a message, through the whole pipeline to a
 * committed row, against a bare grpc-js stream that only decodes the same messages plus the bare transaction of the same
 * rows with what it costs PostgreSQL. Beside it, other ways to bring the same rows in, against that transaction.
 */
export async function heartbeatStream(options: Pick<BenchOptions, "quick">): Promise<BenchResult[]> {
  const beats = options.quick ? 250 : 1_500;
  const warm = Math.ceil(beats / 10);
  const total = beats * streamCount;
  await using product = await startProduct({
    DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "10000000/minute",
    DEVICE_OTA_LOG_LEVEL: "warn",
  });
  const { databaseUrl, grpcAddress } = product.ready;
  await seedFleet(databaseUrl, streamCount);
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  const postgres = await PostgresCpu.of(database);
  await database.end();

  const streams = await openLoadStreams(grpcAddress, { from: 0, to: streamCount, answers: "welcome" });
  await sendAcked(streams, 0, warm);
  const cost = await costOf({ product, postgres }, () => sendAcked(streams, warm, warm + beats));
  for (const stream of streams) stream.call.cancel();

  await using decoder = await startFloor({});
  const bare = await openLoadStreams(decoder.ready.grpcAddress, {
    from: 0,
    to: streamCount,
    answers: "headers",
  });
  await sendDecoded(bare, 0, warm);
  const decodeMicros = await decoder.cpuDuring(() => sendDecoded(bare, warm, warm + beats));
  for (const stream of bare) stream.call.cancel();

  const deviceIds = Array.from({ length: streamCount }, (_, index) => deviceIdOf(index));
  const work = { url: databaseUrl, deviceIds, batchRows: floorBatchRows };
  const transaction = await ingestFloor({ ...work, way: "transaction", rows: total });
  const floorOf = ({ serviceMicros, postgresMicros }: typeof transaction, rows: number): number =>
    (serviceMicros + postgresMicros) / rows;
  const rate = (total / cost.milliseconds) * 1_000;
  const ways = [
    { way: "copy-file", rows: total, name: "COPY from a file of PostgreSQL's own, without marks" },
    { way: "insert-orm", rows: Math.ceil(total / 10), name: "the ORM's INSERT of 1,000 rows, without marks" },
    { way: "insert-rows", rows: Math.ceil(total / 60), name: "an INSERT a heartbeat, without marks" },
  ] as const;
  const others: BenchResult[] = [];
  for (const { way, rows, name } of ways) {
    const other = await ingestFloor({ ...work, way, rows });
    others.push({
      bench: `ingest-${way}`,
      value: floorOf(other, rows),
      unit: "us CPU a beat",
      floor: floorOf(transaction, total),
      target: "",
      note: `${name}: ${perSecond(rows, other.milliseconds)}; against the bare transaction`,
    });
  }
  const each = (micros: number): string => (micros / total).toFixed(1);
  return [
    {
      bench: "heartbeat-stream",
      value: (cost.serviceMicros + cost.postgresMicros) / total,
      unit: "us CPU a beat",
      floor: decodeMicros / total + floorOf(transaction, total),
      target: "<= 1.5",
      note:
        `service ${each(cost.serviceMicros)} + PostgreSQL ${each(cost.postgresMicros)}, against decode ${each(decodeMicros)} + transaction ` +
        `${each(transaction.serviceMicros)} + PostgreSQL ${each(transaction.postgresMicros)}; ${total} beats on ${streamCount} streams`,
    },
    {
      bench: "heartbeat-rate",
      value: rate,
      unit: "durable beats/s",
      floor: (total / transaction.milliseconds) * 1_000,
      target: "",
      note: `${Math.round(rate * 60)} devices at a beat a minute, the load on the same cores; against the bare transaction, one writer`,
    },
    ...others,
  ];
}

function perSecond(rows: number, milliseconds: number): string {
  return `${Math.round((rows / milliseconds) * 1_000)} rows/s`;
}
