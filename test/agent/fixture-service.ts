import { createHash } from "node:crypto";
import {
  create,
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import { crc32c } from "@node-rs/crc32";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import {
  DeviceService,
  type EnrolDeviceRequest,
  EnrolDeviceResponseSchema,
} from "../../gen/ota/v1/device_service_pb.js";
import type { Heartbeat } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  type DirectiveSchema,
  HeartbeatService,
  type Hello,
  type StreamHeartbeatsRequest,
  type StreamHeartbeatsResponse,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import {
  type GetTufMetadataRequest,
  GetTufMetadataResponseSchema,
  TufService,
} from "../../gen/ota/v1/tuf_service_pb.js";
import {
  type CheckForUpdateRequest,
  CheckForUpdateResponseSchema,
  type DownloadFirmwareRequest,
  type DownloadFirmwareResponse,
  DownloadFirmwareResponseSchema,
  type OfferSchema,
  type ReportUpdateStatusRequest,
  ReportUpdateStatusResponseSchema,
  UpdateService,
} from "../../gen/ota/v1/update_service_pb.js";

/** What goes wrong in one download. */
export type DownloadFault =
  | { readonly kind: "corrupt"; readonly at: number }
  | { readonly kind: "cut"; readonly at: number }
  | { readonly kind: "endless" }
  | { readonly kind: "empty" }
  | { readonly kind: "other-content" }
  | { readonly kind: "status"; readonly error: Partial<StatusObject> };

type BidiCall = ServerDuplexStream<StreamHeartbeatsRequest, StreamHeartbeatsResponse>;

interface DeviceRecord {
  readonly id: string;
  readonly hellos: Hello[];
  /** Durable heartbeats, each once. */
  readonly beats: Heartbeat[];
  /** Batches as they came. */
  readonly batches: Heartbeat[][];
  readonly goodbyes: string[];
  epoch: number;
  mark: bigint;
  call: BidiCall | undefined;
}

/**
 * The device's side of the contract on a real grpc-js server, with faults that a healthy service cannot be made to
 * produce: damaged chunks, cut downloads, lost acknowledgements.
 */
export class FixtureService implements AsyncDisposable {
  readonly devices = new Map<string, DeviceRecord>();
  readonly enrolments: EnrolDeviceRequest[] = [];
  readonly checks: CheckForUpdateRequest[] = [];
  readonly reports: ReportUpdateStatusRequest[] = [];
  readonly downloads: DownloadFirmwareRequest[] = [];
  readonly downloadFaults: DownloadFault[] = [];
  /** Errors that the next calls of the method answer with. */
  readonly failures: { readonly method: string; readonly error: Partial<StatusObject> }[] = [];
  /** Errors that the next streams are answered with. */
  readonly streamFailures: Partial<StatusObject>[] = [];
  /** What an enrolment hands out instead of an identity. */
  identity: MessageInitShape<typeof EnrolDeviceResponseSchema> | undefined;
  readonly content = new Map<string, Buffer>();
  /** URLs for the next downloads that accept one. */
  readonly urls: string[] = [];
  offerFor: (
    deviceId: string,
    request: CheckForUpdateRequest,
  ) => MessageInitShape<typeof OfferSchema> | undefined = () => undefined;
  reportAnswer: (request: ReportUpdateStatusRequest) => DeviceUpdateState = (request) => request.state;
  acknowledging = true;
  /** TUF metadata of every product, by the names of files. */
  readonly tufFiles = new Map<string, Uint8Array>();
  heartbeatIntervalMs = 50;
  maxBatchSize = 100;
  checkAfterMs = 200;
  downloadedBytes = 0;
  #server = new Server();
  #port = 0;
  #serial = 0;

  static async start(): Promise<FixtureService> {
    const service = new FixtureService();
    await service.resume();
    return service;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** The one device, for tests with one. */
  get device(): DeviceRecord {
    const [device] = this.devices.values();
    if (device === undefined) throw new Error("no device has enrolled yet");
    return device;
  }

  /** The states reported, in order. */
  get states(): string[] {
    return this.reports.map(({ state }) => DeviceUpdateState[state] ?? "");
  }

  /** Makes content downloadable as an update. @returns its SHA-256 */
  addContent(updateId: string, bytes: Buffer): string {
    this.content.set(updateId, bytes);
    return createHash("sha256").update(bytes).digest("hex");
  }

  direct(device: DeviceRecord, action: MessageInitShape<typeof DirectiveSchema>["action"]): void {
    const value = { id: `directive-${++this.#serial}`, action: action as NonNullable<typeof action> };
    device.call?.write(create(StreamHeartbeatsResponseSchema, { message: { case: "directive", value } }));
  }

  endStream(device: DeviceRecord, error: Partial<StatusObject>): void {
    device.call?.emit("error", error);
  }

  /** Goes away with all its connections; what it knows stays. */
  pause(): void {
    this.#server.forceShutdown();
  }

  /** Comes back on the same port. */
  async resume(): Promise<void> {
    this.#server = new Server({ "grpc.max_receive_message_length": 1024 * 1024 });
    this.#server.addService(definitionOf(DeviceService, ["enrolDevice"]), { enrolDevice: this.#enrol });
    this.#server.addService(definitionOf(HeartbeatService, ["streamHeartbeats"]), {
      streamHeartbeats: this.#stream,
    });
    this.#server.addService(
      definitionOf(UpdateService, ["checkForUpdate", "downloadFirmware", "reportUpdateStatus"]),
      { checkForUpdate: this.#check, downloadFirmware: this.#download, reportUpdateStatus: this.#report },
    );
    this.#server.addService(definitionOf(TufService, ["getTufMetadata"]), {
      getTufMetadata: this.#tufMetadata,
    });
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(this.address, ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    return Promise.resolve();
  }

  readonly #enrol: handleUnaryCall<EnrolDeviceRequest, unknown> = ({ request }, answer) => {
    this.enrolments.push(request);
    const failure = this.#failure("enrolDevice");
    if (failure !== undefined) return answer(failure);
    if (this.identity !== undefined) return answer(null, create(EnrolDeviceResponseSchema, this.identity));
    const id = `00000000-0000-7000-8000-${String(this.devices.size + 1).padStart(12, "0")}`;
    this.devices.set(id, {
      id,
      hellos: [],
      beats: [],
      batches: [],
      goodbyes: [],
      epoch: 1,
      mark: 0n,
      call: undefined,
    });
    answer(null, create(EnrolDeviceResponseSchema, { device: { id }, deviceToken: `token ${id}` }));
  };

  readonly #stream: handleBidiStreamingCall<StreamHeartbeatsRequest, StreamHeartbeatsResponse> = (call) => {
    const device = this.#caller(call.metadata);
    call.on("data", ({ message }: StreamHeartbeatsRequest) => {
      switch (message.case) {
        case "hello":
          return this.#welcome(call, device, message.value);
        case "batch":
          device.batches.push(message.value.heartbeats);
          return this.#store(device, message.value.heartbeats);
        case "goodbye":
          device.goodbyes.push(message.value.reason);
          return call.end();
        case undefined:
          return;
      }
    });
    call.on("error", () => undefined);
  };

  #welcome(call: BidiCall, device: DeviceRecord, hello: Hello): void {
    device.hellos.push(hello);
    const failure = this.streamFailures.shift();
    if (failure !== undefined) {
      call.emit("error", failure);
      return;
    }
    if (hello.epoch < device.epoch) {
      const epoch = String(device.epoch);
      call.emit("error", statusOf(status.FAILED_PRECONDITION, "STALE_EPOCH", { epoch }));
      return;
    }
    if (hello.epoch > device.epoch) device.mark = 0n;
    device.epoch = hello.epoch;
    device.call = call;
    const value = {
      durableSequence: device.mark,
      epoch: device.epoch,
      heartbeatInterval: durationFromMs(this.heartbeatIntervalMs),
      maxBatchSize: this.maxBatchSize,
    };
    call.write(create(StreamHeartbeatsResponseSchema, { message: { case: "welcome", value } }));
  }

  #store(device: DeviceRecord, heartbeats: readonly Heartbeat[]): void {
    for (const beat of heartbeats) {
      if (beat.sequence <= device.mark) continue;
      device.beats.push(beat);
      device.mark = beat.sequence;
    }
    if (!this.acknowledging) return;
    const value = { ackedThrough: device.mark };
    device.call?.write(create(StreamHeartbeatsResponseSchema, { message: { case: "ack", value } }));
  }

  readonly #check: handleUnaryCall<CheckForUpdateRequest, unknown> = ({ request, metadata }, answer) => {
    this.checks.push(request);
    const failure = this.#failure("checkForUpdate");
    if (failure !== undefined) return answer(failure);
    const offer = this.offerFor(this.#caller(metadata).id, request);
    const retryAfter = durationFromMs(this.checkAfterMs);
    answer(
      null,
      create(CheckForUpdateResponseSchema, offer === undefined ? { retryAfter } : { offer, retryAfter }),
    );
  };

  readonly #tufMetadata: handleUnaryCall<GetTufMetadataRequest, unknown> = ({ request }, answer) => {
    const metadata = this.tufFiles.get(request.file);
    if (metadata === undefined) return answer(statusOf(status.NOT_FOUND, "NOT_FOUND"));
    answer(null, create(GetTufMetadataResponseSchema, { metadata: new Uint8Array(metadata) }));
  };

  readonly #report: handleUnaryCall<ReportUpdateStatusRequest, unknown> = ({ request }, answer) => {
    const failure = this.#failure("reportUpdateStatus");
    if (failure !== undefined) return answer(failure);
    this.reports.push(request);
    answer(null, create(ReportUpdateStatusResponseSchema, { state: this.reportAnswer(request) }));
  };

  readonly #download: handleServerStreamingCall<DownloadFirmwareRequest, DownloadFirmwareResponse> = (
    call,
  ) => {
    this.downloads.push(call.request);
    const fault = this.downloadFaults.shift();
    const bytes = this.content.get(call.request.updateId);
    if (bytes === undefined) {
      call.emit("error", statusOf(status.PERMISSION_DENIED, "NOT_OFFERED"));
      return;
    }
    if (fault?.kind === "status") {
      call.emit("error", fault.error);
      return;
    }
    void this.#sendContent(call, bytes, fault);
  };

  async #sendContent(
    call: Parameters<handleServerStreamingCall<DownloadFirmwareRequest, DownloadFirmwareResponse>>[0],
    original: Buffer,
    fault: DownloadFault | undefined,
  ): Promise<void> {
    const bytes = fault?.kind === "other-content" ? Buffer.alloc(original.length, 7) : original;
    const sha256 = createHash("sha256").update(original).digest("hex");
    let offset = Number(call.request.offset);
    const url = call.request.acceptUrl ? (this.urls.shift() ?? "") : "";
    const header = { sizeBytes: BigInt(original.length), sha256, offset: BigInt(offset), url };
    call.write(create(DownloadFirmwareResponseSchema, { message: { case: "header", value: header } }));
    if (url !== "") {
      call.end();
      return;
    }
    const end = fault?.kind === "endless" ? Number.POSITIVE_INFINITY : bytes.length;
    while (offset < end && !call.cancelled) {
      if (fault?.kind === "empty") {
        const value = { offset: BigInt(offset), data: Buffer.alloc(0), crc32c: 0 };
        call.write(create(DownloadFirmwareResponseSchema, { message: { case: "chunk", value } }));
        break;
      }
      const data =
        offset < bytes.length ? bytes.subarray(offset, offset + chunkBytes) : Buffer.alloc(chunkBytes);
      const checksum = crc32c(data);
      const damaged = fault?.kind === "corrupt" && fault.at <= offset;
      if (fault?.kind === "cut" && fault.at <= offset) {
        call.emit("error", { code: status.UNAVAILABLE, details: "the connection broke" });
        return;
      }
      const value = {
        offset: BigInt(offset),
        data: damaged ? Buffer.alloc(data.length) : data,
        crc32c: checksum,
      };
      const message = create(DownloadFirmwareResponseSchema, { message: { case: "chunk", value } });
      this.downloadedBytes += data.length;
      offset += data.length;
      if (!call.write(message))
        await new Promise((resolve) => call.once("drain", resolve).once("cancelled", resolve));
    }
    call.end();
  }

  #failure(method: string): Partial<StatusObject> | undefined {
    const index = this.failures.findIndex((failure) => failure.method === method);
    return index < 0 ? undefined : this.failures.splice(index, 1)[0]?.error;
  }

  #caller(metadata: Metadata): DeviceRecord {
    const [authorization] = metadata.get("authorization");
    const device = this.devices.get(String(authorization).replace("Bearer token ", ""));
    if (device === undefined) throw new Error(`unknown caller ${String(authorization)}`);
    return device;
  }
}

/** An error with the service's details. */
export function statusOf(
  code: status,
  reason: string,
  metadata: Record<string, string> = {},
): Partial<StatusObject> {
  const details = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "ota.device", metadata })),
  ];
  const trailer = new Metadata();
  trailer.set(
    "grpc-status-details-bin",
    Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code, message: reason, details }))),
  );
  return { code, details: reason, metadata: trailer };
}

const chunkBytes = 64 * 1024;

function definitionOf(service: DescService, methods: readonly string[]): ServiceDefinition {
  const entries = methods.map((name) => {
    const method = service.method[name];
    if (method === undefined) throw new Error(`no method ${name}`);
    const { input, output, methodKind } = method;
    return [
      name,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
        responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
        requestSerialize: serializer(input),
        requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
        responseSerialize: serializer(output),
        responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
      },
    ];
  });
  return Object.fromEntries(entries) as ServiceDefinition;
}

function serializer<T extends DescMessage>(schema: T): (message: MessageShape<T>) => Buffer {
  return (message) => Buffer.from(toBinary(schema, message));
}
