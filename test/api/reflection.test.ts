import { once } from "node:events";
import {
  create,
  createFileRegistry,
  type FileRegistry,
  fromBinary,
  fromJson,
  type MessageInitShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Metadata, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../gen/grpc/health/v1/health_pb.js";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { callUnary, codecs, type Doors, openDoors } from "./doors.ts";

let doors: Doors;
beforeEach(async () => {
  doors = await openDoors({
    services: [DeviceService],
    endpoints: [
      unary(
        DeviceService.method.getDeviceStatusOverview,
        { access: { role: "viewer" }, rate: "operator" },
        async () => ({
          totalCount: 42n,
        }),
      ),
    ],
  });
});
afterEach(() => doors[Symbol.asyncDispose]());

type Asked = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

/** Asks one question of the reflection service, as stock clients do: without a credential. */
async function ask(
  question: Asked,
  service: typeof ServerReflection | typeof ServerReflectionAlpha = ServerReflection,
) {
  const [path, serialize, deserialize] = codecs(
    (service as typeof ServerReflection).method.serverReflectionInfo,
  );
  const call = doors.client().makeBidiStreamRequest(path, serialize, deserialize, new Metadata());
  const request: MessageInitShape<typeof ServerReflectionRequestSchema> = {
    host: "h",
    messageRequest: question,
  };
  call.write(request);
  const [answer] = (await once(call, "data")) as [ServerReflectionResponse];
  call.end();
  await once(call.resume(), "status");
  return answer.messageResponse;
}

it.each([
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionAlpha],
])("lists the services (%s)", async (_version, service) => {
  const { value } = await ask({ case: "listServices", value: "" }, service);
  expect((value as { service: { name: string }[] }).service.map(({ name }) => name)).toEqual([
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "ota.v1.DeviceService",
  ]);
});

it("gives a client that has nothing else all that it needs to call", async () => {
  const registry = await filesOf({
    case: "fileContainingSymbol",
    value: "ota.v1.DeviceService.GetDeviceStatusOverview",
  });
  const method = registry
    .getService("ota.v1.DeviceService")
    ?.methods.find(({ name }) => name === "GetDeviceStatusOverview");
  if (method === undefined) throw new Error("not described");
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const metadata = new Metadata();
    metadata.set("authorization", "Bearer admin");
    doors.client().makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (json: object) => Buffer.from(toBinary(method.input, fromJson(method.input, json as never))),
      (bytes) => bytes,
      {},
      metadata,
      (error, bytes) => (error ? reject(error) : resolve(bytes as Buffer)),
    );
  });
  expect(toJson(method.output, fromBinary(method.output, answer))).toMatchObject({ totalCount: "42" });
});

it("finds files by name with their imports, and extensions", async () => {
  const registry = await filesOf({ case: "fileByFilename", value: "ota/v1/device_service.proto" });
  expect(registry.getMessage("ota.v1.Device")).toBeDefined();
  expect(registry.getExtension("google.api.http")).toBeDefined();
  expect(
    await ask({
      case: "fileContainingExtension",
      value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 72295728 },
    }),
  ).toMatchObject({
    case: "fileDescriptorResponse",
  });
  expect(
    await ask({ case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" }),
  ).toMatchObject({
    value: { extensionNumber: [72295728, 51344] },
  });
});

it("finds the files of error details, which no service names", async () => {
  const details = await filesOf({ case: "fileContainingSymbol", value: "google.rpc.ErrorInfo" });
  expect(details.getMessage("google.rpc.BadRequest")).toBeDefined();
  const reasons = await filesOf({ case: "fileByFilename", value: "ota/v1/error_reason.proto" });
  expect(reasons.getEnum("ota.v1.ErrorReason")).toBeDefined();
});

it.each([
  { case: "fileContainingSymbol", value: "no.Such" },
  { case: "fileByFilename", value: "no/such.proto" },
  { case: "allExtensionNumbersOfType", value: "no.Such" },
] as const)("does not know $value", async (question) => {
  expect(await ask(question)).toMatchObject({
    case: "errorResponse",
    value: { errorCode: status.NOT_FOUND },
  });
});

it("tells whether the service takes calls, now and when it changes", async () => {
  const client = doors.client();
  expect((await callUnary(client, Health.method.check, {})).status).toBe(ServingStatus.SERVING);
  expect((await callUnary(client, Health.method.check, { service: "ota.v1.DeviceService" })).status).toBe(
    ServingStatus.SERVING,
  );
  await expect(callUnary(client, Health.method.check, { service: "no.Such" })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  const [path, serialize, deserialize] = codecs(Health.method.watch);
  const watch = client.makeServerStreamRequest(path, serialize, deserialize, {}, new Metadata());
  watch.on("error", () => {});
  expect((await once(watch, "data"))[0]).toMatchObject({ status: ServingStatus.SERVING });
  doors.serving.set(false);
  expect((await once(watch, "data"))[0]).toMatchObject({ status: ServingStatus.NOT_SERVING });
  watch.cancel();
});

async function filesOf(question: Asked): Promise<FileRegistry> {
  const answer = await ask(question);
  if (answer.case !== "fileDescriptorResponse") throw new Error(`got ${answer.case}`);
  const file = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  return createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(file) }));
}

/** Imports first, as a registry wants them. */
function inOrder<T extends { name: string; dependency: string[] }>(files: T[]): T[] {
  const done = new Map<string, T>();
  const visit = (file: T) => {
    if (done.has(file.name)) return;
    for (const name of file.dependency) visit(files.find((each) => each.name === name) as T);
    done.set(file.name, file);
  };
  for (const file of files) visit(file);
  return [...done.values()];
}
