import { createHash, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { crc32c } from "@node-rs/crc32";
import { DeviceService, type EnrolDeviceResponse } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService, type UploadFirmwareRequestSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import {
  type Directive,
  HeartbeatService,
  type StreamHeartbeatsRequestSchema,
  type StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { type BidiCall, RpcClient } from "../../src/client/rpc-client.ts";
import type { DeliveryHistory } from "./delivery-history.ts";
import { eventually } from "./eventually.ts";

/** Heartbeats that a device sends ahead of its acks: enough to fill a small queue while nothing is written. */
const windowHeartbeats = 32;

/** Between heartbeats while the window is open: a load that needs no more than a small part of a processor. */
const beatMs = 25;

const reconnectMs = 100;

/** How a {@link StreamingDevice} behaves. */
interface StreamingBehaviour {
  /** Records all that it sends and hears. */
  readonly history?: DeliveryHistory;
  /** Between messages while the window is open, in milliseconds. */
  readonly beatMs?: number;
  /** The heartbeats that it has to tell; without end if not given. */
  readonly backlog?: number;
  /** The most heartbeats of one message. */
  readonly batchSize?: number;
}

/** What a {@link StreamingDevice} is. */
interface StreamingDeviceOptions extends StreamingBehaviour {
  readonly id: string;
  readonly token: string;
  readonly address: string;
}

/**
 * A device that does nothing but stream: numbered heartbeats, some ahead of the acks. After a lost stream it
 * comes back and sends again whatever was not acknowledged, as the contract asks.
 */
export class StreamingDevice implements AsyncDisposable {
  readonly id: string;
  /** Every heartbeat up to this one was acknowledged. */
  acked = 0;
  /** The highest sequence that was sent. */
  sent = 0;
  /** Heartbeats that were sent more than once. */
  resent = 0;
  /** Streams that were welcomed. */
  streams = 0;
  /** Sequences that the service refused. */
  readonly rejected: bigint[] = [];
  readonly directives: Directive[] = [];
  readonly #token: string;
  readonly #behaviour: StreamingBehaviour;
  #address: string;
  readonly #bootId = randomUUID();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor({ id, token, address, ...behaviour }: StreamingDeviceOptions) {
    this.id = id;
    this.#token = token;
    this.#address = address;
    this.#behaviour = behaviour;
    this.#running = this.#run();
  }

  /** Where the next stream goes. */
  moveTo(address: string): void {
    this.#address = address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      using rpc = new RpcClient({ address: this.#address, token: this.#token, ownConnection: true });
      // A stream that ends is this device's daily bread; what counts is what was acknowledged.
      await this.#stream(rpc).catch(() => undefined);
      await delay(reconnectMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #stream(rpc: RpcClient): Promise<void> {
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, ended.signal]);
    const call = rpc.bidi(HeartbeatService.method.streamHeartbeats, { signal: this.#stop.signal });
    const lastSequence = BigInt(this.sent);
    await call.send({
      message: { case: "hello", value: { deviceId: this.id, epoch: 1, lastSequence, bootId: this.#bootId } },
    });
    let sending: Promise<void> | undefined;
    try {
      for await (const { message } of call) {
        if (message.case === "welcome") {
          this.streams += 1;
          this.acked = Math.max(this.acked, Number(message.value.durableSequence));
          this.#behaviour.history?.welcomed(this.id, 1, Number(message.value.durableSequence));
          sending = this.#send(call, signal);
        } else if (message.case === "ack") {
          this.acked = Math.max(this.acked, Number(message.value.ackedThrough));
          const rejected = message.value.rejected.map(({ sequence }) => sequence);
          this.rejected.push(...rejected);
          this.#behaviour.history?.acked(
            this.id,
            1,
            Number(message.value.ackedThrough),
            rejected.map(Number),
          );
        } else if (message.case === "directive") {
          this.directives.push(message.value);
        }
      }
    } finally {
      ended.abort();
      await sending;
    }
  }

  async #send(call: HeartbeatCall, signal: AbortSignal): Promise<void> {
    const { backlog = Number.POSITIVE_INFINITY, batchSize = 1, history } = this.#behaviour;
    const window = Math.max(windowHeartbeats, 2 * batchSize);
    let next = this.acked + 1;
    while (!signal.aborted) {
      const end = Math.min(next + batchSize - 1, backlog);
      if (next <= end && end <= this.acked + window) {
        const heartbeats = [];
        for (; next <= end; next++) {
          if (next <= this.sent) this.resent += 1;
          this.sent = Math.max(this.sent, next);
          history?.sent(this.id, 1, next);
          heartbeats.push({ sequence: BigInt(next), firmwareVersion: "1.0.0", bootId: this.#bootId });
        }
        await call.send({ message: { case: "batch", value: { heartbeats } } });
      }
      await delay(this.#behaviour.beatMs ?? beatMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Devices that stream, enrolled through the front door, all at once. */
export async function startDevices(
  service: { readonly grpcAddress: string; readonly enrolmentKey: string },
  count: number,
  behaviour: StreamingBehaviour = {},
): Promise<StreamingDevice[]> {
  using rpc = new RpcClient({ address: service.grpcAddress });
  const identities = await Promise.all(Array.from({ length: count }, () => enrol(rpc, service.enrolmentKey)));
  return identities.map(
    ({ device, deviceToken: token }) =>
      new StreamingDevice({ id: device?.id ?? "", token, address: service.grpcAddress, ...behaviour }),
  );
}

/** Enrols a device that nobody has seen before. */
export function enrol(
  rpc: RpcClient,
  enrolmentKey: string,
  firmwareVersion = "1.0.0",
): Promise<EnrolDeviceResponse> {
  return rpc.unary(DeviceService.method.enrolDevice, {
    requestId: randomUUID(),
    enrolmentKey,
    serialNumber: `fault-${randomUUID()}`,
    deviceType: "thermostat",
    hardwareModel: "tx-200",
    firmwareVersion,
  });
}

/** Waits until every device has had so many more heartbeats acknowledged. */
export async function untilAcked(devices: readonly StreamingDevice[], more: number): Promise<void> {
  const before = devices.map(({ acked }) => acked);
  await eventually(() => {
    const behind = devices.filter(({ acked }, index) => acked < (before[index] ?? 0) + more);
    if (behind.length > 0) throw new Error(`${behind.length} devices wait for acks`);
  }, ackDeadlineMs);
}

/** Only against a hang. */
const ackDeadlineMs = 120_000;

/** What a device had acknowledged at one moment. */
export interface Acknowledged {
  readonly id: string;
  readonly acked: number;
}

/** A picture of what is acknowledged now. */
export function acknowledged(devices: readonly StreamingDevice[]): Acknowledged[] {
  return devices.map(({ id, acked }) => ({ id, acked }));
}

/** The HTTP status of a path. */
export async function statusOf(httpUrl: string, path: string): Promise<number> {
  const response = await fetch(`${httpUrl}${path}`);
  await response.body?.cancel();
  return response.status;
}

/** Polls until a path answers with a status. */
export async function untilStatus(httpUrl: string, path: string, status: number): Promise<void> {
  await eventually(async () => {
    const found = await statusOf(httpUrl, path);
    if (found !== status) throw new Error(`${path} answers ${found}`);
  });
}

/** The value of a metric without labels. */
export async function metric(httpUrl: string, name: string): Promise<number> {
  const text = await (await fetch(`${httpUrl}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`there is no metric ${name}`);
  return Number(value);
}

/** A firmware in state DRAFT for the content. */
export async function createFirmware(
  rpc: RpcClient,
  firmware: { readonly product: string; readonly version: string; readonly content: Uint8Array },
): Promise<{ readonly id: string; readonly sha256: string }> {
  const { product, version, content } = firmware;
  const sha256 = createHash("sha256").update(content).digest("hex");
  const created = await rpc.unary(FirmwareService.method.createFirmware, {
    product,
    version,
    deviceTypes: ["thermostat"],
    sha256,
    sizeBytes: BigInt(content.length),
  });
  return { id: created.firmware?.id ?? "", sha256 };
}

/** Upload messages for the content from an offset to an end; the last one of the content finishes the upload. */
export function* uploadMessages(
  id: string,
  content: Uint8Array,
  start = 0,
  end = content.length,
): Generator<MessageInitShape<typeof UploadFirmwareRequestSchema>> {
  for (let offset = start; offset < end; offset += chunkBytes) {
    const data = Buffer.from(content.subarray(offset, Math.min(offset + chunkBytes, end)));
    const finish = offset + data.length >= content.length;
    yield { id, offset: BigInt(offset), data, crc32c: crc32c(data), finish };
  }
}

const chunkBytes = 64 * 1024;

type HeartbeatCall = BidiCall<typeof StreamHeartbeatsRequestSchema, typeof StreamHeartbeatsResponseSchema>;
