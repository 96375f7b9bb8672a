import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { Code } from "../../gen/google/rpc/code_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService, type EnrolDeviceRequestSchema } from "../../gen/ota/v1/device_service_pb.js";
import type { Firmware } from "../../gen/ota/v1/firmware_pb.js";
import {
  type CreateFirmwareRequestSchema,
  FirmwareService,
  type UploadFirmwareRequestSchema,
} from "../../gen/ota/v1/firmware_service_pb.js";
import { ClientError } from "../../src/client/client-error.ts";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import type { TestService } from "./service.ts";

/** What a caller is told when a call is refused, the same whichever door it came by. */
export interface Refusal {
  /** The name in google.rpc.Code, for example `NOT_FOUND`. */
  readonly code: string;
  readonly reason: string;
  /** Paths of the offending request fields. */
  readonly fields: readonly string[];
}

/** The refusal of a call by gRPC (a ClientError) or Connect; throws if the call succeeds. */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  const error = await call.then(
    () => new Error("the call succeeded"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof ClientError) {
    return { code: nameOf(error.code), reason: error.reason, fields: error.fields.map(({ field }) => field) };
  }
  if (error instanceof ConnectError) {
    return {
      code: nameOf(error.code),
      reason: error.findDetails(ErrorInfoSchema)[0]?.reason ?? "",
      fields: error
        .findDetails(BadRequestSchema)
        .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field)),
    };
  }
  throw error;
}

/** The answer to a plain HTTP request. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** The body as JSON, or as it came if it is none. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into it freely
  readonly body: any;
}

/** Sends one HTTP request as curl would. */
export async function http(
  service: TestService,
  method: string,
  path: string,
  options: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<HttpAnswer> {
  const response = await fetch(new URL(path, service.httpUrl), {
    method,
    headers: {
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...(options.body === undefined ? {} : { "content-type": "application/json" }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** The refusal in an HTTP answer: a google.rpc.Status as JSON. */
export function httpRefusal({ body }: HttpAnswer): Refusal {
  const details = body.details as {
    "@type": string;
    reason?: string;
    fieldViolations?: { field: string }[];
  }[];
  const detail = (name: string) => details.find((each) => each["@type"].endsWith(`google.rpc.${name}`));
  return {
    code: nameOf(body.code as number),
    reason: detail("ErrorInfo")?.reason ?? "",
    fields: (detail("BadRequest")?.fieldViolations ?? []).map(({ field }) => field),
  };
}

/** A client of the Connect protocol. */
export function connectClient<S extends DescService>(
  service: TestService,
  contract: S,
  token: string,
): Client<S> {
  const transport = createConnectTransport({
    baseUrl: service.httpUrl,
    httpVersion: "1.1",
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return createClient(contract, transport);
}

/** A device that enrolled. */
export interface EnrolledDevice {
  readonly id: string;
  readonly token: string;
  /** Undefined: never. */
  readonly tokenExpireTime: Timestamp | undefined;
}

/** Enrols a device over gRPC, as devices do: one that nobody has seen before, unless the overrides name its serial number. */
export async function enrolDevice(
  service: Pick<TestService, "client" | "enrolmentKey">,
  overrides: MessageInitShape<typeof EnrolDeviceRequestSchema> = {},
): Promise<EnrolledDevice> {
  const { device, deviceToken, tokenExpireTime } = await service
    .client()
    .unary(DeviceService.method.enrolDevice, {
      requestId: randomUUID(),
      enrolmentKey: service.enrolmentKey,
      serialNumber: `sn-${randomUUID()}`,
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      firmwareVersion: "1.0.0",
      ...overrides,
    });
  return { id: device?.id ?? "", token: deviceToken, tokenExpireTime };
}

/** Makes an operator's token. */
export async function mintToken(
  service: TestService,
  role: Role,
  expires?: Date,
): Promise<{ readonly id: string; readonly name: string; readonly secret: string }> {
  const name = `${Role[role]} ${randomUUID()} of a test`;
  const { token, secret } = await service.client().unary(AccessService.method.createToken, {
    name,
    role,
    ...(expires === undefined ? {} : { expireTime: timestampFromDate(expires) }),
  });
  return { id: token?.id ?? "", name, secret };
}

/** Content that no other test has. */
export function newContent(sizeBytes = 20_000): Buffer {
  return randomBytes(sizeBytes);
}

/** Declares firmware of that content, of a product of its own unless the overrides name one. */
export async function createFirmware(
  client: RpcClient,
  content: Uint8Array,
  overrides: MessageInitShape<typeof CreateFirmwareRequestSchema> = {},
): Promise<Firmware> {
  const { firmware } = await client.unary(FirmwareService.method.createFirmware, {
    product: `app-${randomUUID()}`,
    version: "1.1.0",
    deviceTypes: ["thermostat"],
    sha256: createHash("sha256").update(content).digest("hex"),
    sizeBytes: BigInt(content.length),
    ...overrides,
  });
  if (firmware === undefined) throw new Error("no firmware came back");
  return firmware;
}

/** Uploads content in one stream, in chunks of up to 64 KiB, and finishes it. */
export function upload(client: RpcClient, id: string, content: Uint8Array) {
  return client.clientStream(FirmwareService.method.uploadFirmware, chunksOf(id, content));
}

/** Registers a fresh Ed25519 key. */
export async function registerKey(client: RpcClient): Promise<SigningKeyPair> {
  const key = generateSigningKey();
  const { publicKeyPem } = key;
  await client.unary(AccessService.method.registerSigningKey, { name: "release", publicKeyPem });
  return key;
}

/** Takes firmware all the way to RELEASED. */
export async function publish(
  service: Pick<TestService, "client">,
  content: Uint8Array,
  overrides: MessageInitShape<typeof CreateFirmwareRequestSchema> = {},
): Promise<Firmware> {
  const client = service.client();
  const firmware = await createFirmware(client, content, overrides);
  await upload(client, firmware.id, content);
  const key = await registerKey(client);
  const { manifest } = await client.unary(FirmwareService.method.getFirmwareManifest, { id: firmware.id });
  const signed = await client.unary(FirmwareService.method.signFirmware, {
    id: firmware.id,
    manifest,
    keyId: key.keyId,
    signature: bytes(signManifest(key.privateKeyPem, manifest)),
  });
  return signed.firmware ?? firmware;
}

/** The same bytes under the type that the generated messages take. */
export function bytes(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data);
}

const chunkBytes = 64 * 1024;

async function* chunksOf(
  id: string,
  content: Uint8Array,
): AsyncGenerator<MessageInitShape<typeof UploadFirmwareRequestSchema>> {
  for (let offset = 0; offset < content.length; offset += chunkBytes) {
    const data = bytes(content.subarray(offset, offset + chunkBytes));
    yield { id, offset: BigInt(offset), data, finish: offset + chunkBytes >= content.length };
  }
}

function nameOf(code: number): string {
  return Code[code] ?? String(code);
}
