import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import {
  StreamHeartbeatsRequestSchema,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { eventually } from "../support/eventually.ts";
import { query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { enrol, metric, startDevices, untilAcked } from "../support/streaming-device.ts";

const settings = { DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off" };

/** Against megabytes of acknowledgements and rejections that nobody reads. */
const maxMemoryGrowthBytes = 100 * 1024 * 1024;

it("a device that never reads its acks costs no memory: they merge into one, and its heartbeats are stored", async () => {
  await using service = await startTestService({ settings });
  using rpc = service.client();
  const { device, deviceToken } = await enrol(rpc, service.enrolmentKey);
  using deaf = new DeafDevice(service.grpcAddress, device?.id ?? "", deviceToken);
  const rss = process.memoryUsage.rss();
  const total = 40_000;
  for (let sequence = 1; sequence <= total; sequence += 50) await deaf.send(sequence, 50, "1.0.0");
  await eventually(async () => {
    const rows = await query<{ count: number }>(
      service.databaseUrl,
      "SELECT count(*)::int AS count FROM device_heartbeats WHERE device_id = $1",
      [deaf.id],
    );
    expect(rows[0]?.count).toBe(total);
  });
  expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(0);
  expect(process.memoryUsage.rss() - rss).toBeLessThan(maxMemoryGrowthBytes);
  deaf.listen();
  await eventually(() => expect(deaf.ackedThrough).toBe(total));
  // Hundreds of flushes, and what they had to say fits into a few messages.
  expect(deaf.acks).toBeLessThan(20);
});

it("a device that does not read what was refused is not read either, and neither it nor others lose anything", async () => {
  await using service = await startTestService({ settings });
  await using cleanup = new AsyncDisposableStack();
  using rpc = service.client();
  const others = await startDevices(service, 3);
  for (const other of others) cleanup.use(other);
  const { device, deviceToken } = await enrol(rpc, service.enrolmentKey);
  using deaf = new DeafDevice(service.grpcAddress, device?.id ?? "", deviceToken);
  let taken = 0;
  const messages = 200;
  const sending = (async () => {
    for (; taken < messages; taken++) await deaf.send(1 + taken * 1_000, 1_000, "\0");
  })();
  await eventually(() => expect(taken).toBeGreaterThan(0));
  await untilAcked(others, 40);
  const takenThen = taken;
  await untilAcked(others, 40);
  expect(taken).toBe(takenThen);
  expect(taken).toBeLessThan(messages);

  deaf.listen();
  await sending;
  await eventually(() => expect(deaf.ackedThrough).toBe(messages * 1_000));
  expect(deaf.rejected.size).toBe(messages * 1_000);
  deaf[Symbol.dispose]();
  await cleanup.disposeAsync();
  await eventually(async () => {
    expect(await rpc.unary(DeviceService.method.getDeviceStatusOverview, {})).toMatchObject({
      streamingCount: 0n,
    });
  });
});

/** A device that grants the service no room to send anything, until it listens. */
class DeafDevice implements Disposable {
  readonly id: string;
  ackedThrough = 0;
  acks = 0;
  readonly rejected = new Set<bigint>();
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  #unread = Buffer.alloc(0);

  constructor(address: string, id: string, token: string) {
    this.id = id;
    this.#session = connect(`http://${address}`, { settings: { initialWindowSize: 0 } });
    this.#session.on("error", () => undefined);
    this.#stream = this.#session.request({
      ":method": "POST",
      ":path": "/ota.v1.HeartbeatService/StreamHeartbeats",
      "content-type": "application/grpc",
      te: "trailers",
      authorization: `Bearer ${token}`,
    });
    this.#stream.on("error", () => undefined);
    void this.#write({ case: "hello", value: { deviceId: id, firmwareVersion: "1.0.0", bootId: "b" } });
  }

  /** Sends a message of heartbeats; resolves when the service has granted the room for it. */
  send(first: number, count: number, firmwareVersion: string): Promise<void> {
    const heartbeats = Array.from({ length: count }, (_, index) => ({
      sequence: BigInt(first + index),
      firmwareVersion,
    }));
    return this.#write({ case: "batch", value: { heartbeats } });
  }

  /** Begins to read. */
  listen(): void {
    this.#stream.on("data", (chunk: Buffer) => {
      this.#unread = Buffer.concat([this.#unread, chunk]);
      while (
        this.#unread.length >= frameHead &&
        this.#unread.length >= frameHead + this.#unread.readUInt32BE(1)
      ) {
        const end = frameHead + this.#unread.readUInt32BE(1);
        const { message } = fromBinary(StreamHeartbeatsResponseSchema, this.#unread.subarray(frameHead, end));
        this.#unread = this.#unread.subarray(end);
        if (message.case !== "ack") continue;
        this.acks++;
        this.ackedThrough = Number(message.value.ackedThrough);
        for (const { sequence } of message.value.rejected) this.rejected.add(sequence);
      }
    });
    this.#session.settings({ initialWindowSize: 1024 * 1024 });
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }

  #write(
    message: NonNullable<MessageInitShape<typeof StreamHeartbeatsRequestSchema>["message"]>,
  ): Promise<void> {
    const body = toBinary(StreamHeartbeatsRequestSchema, create(StreamHeartbeatsRequestSchema, { message }));
    const head = Buffer.alloc(frameHead);
    head.writeUInt32BE(body.length, 1);
    return new Promise((resolve) => {
      this.#stream.write(Buffer.concat([head, body]), () => resolve());
    });
  }
}

/** gRPC's: not compressed, and the length of the message. */
const frameHead = 5;
