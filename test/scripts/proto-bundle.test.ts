import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  createFileRegistry,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { type FieldDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { file_ota_v1_error_reason } from "../../gen/ota/v1/error_reason_pb.js";
import { file_ota_v1_heartbeat_service } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { file_ota_v1_update_service } from "../../gen/ota/v1/update_service_pb.js";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-bundle-"));
  await run(process.execPath, [join(root, "scripts/proto-bundle/write.ts"), folder]);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a compiler makes of one of the bundle's folders, alone and without any configuration. */
async function compiled(name: string): Promise<FileRegistry> {
  const image = join(folder, `${name}.binpb`);
  const buf = join(root, "node_modules/.bin/buf");
  await run(buf, ["build", join(folder, name), "--as-file-descriptor-set", "--output", image]);
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, await readFile(image)));
}

describe("the bundle of protos", () => {
  it("has all of the contract, which compiles alone, with names for each language", async () => {
    const { files } = await compiled("all");
    const ours = [...files].filter(({ proto }) => proto.package === "ota.v1");
    const names = (await readdir(join(root, "proto/ota/v1"))).map((name) => `ota/v1/${name}`);
    expect(ours.map(({ name }) => `${name}.proto`).toSorted()).toEqual(names.toSorted());
    for (const { proto, name } of ours) {
      expect(proto.options, name).toMatchObject({
        goPackage: "deviceota/ota/v1;otav1",
        javaPackage: "deviceota.v1",
        javaMultipleFiles: true,
        csharpNamespace: "DeviceOta.V1",
      });
    }
  });

  it("has for devices what they may call, with nothing but Google's own types beside it", async () => {
    const registry = await compiled("device");
    const others = [...registry.files].map(({ name }) => name).filter((name) => !name.startsWith("ota/v1/"));
    expect(others.filter((name) => !name.startsWith("google/protobuf/"))).toEqual([]);
    const methods = [...registry.files].flatMap(({ services }) =>
      services.flatMap((service) => service.methods.map(({ name }) => `${service.name}.${name}`)),
    );
    expect(methods).toContain("DeviceService.EnrolDevice");
    expect(methods).toContain("HeartbeatService.StreamHeartbeats");
    expect(methods).not.toContain("DeviceService.ListDevices");
    expect(methods).not.toContain("FirmwareService.CreateFirmware");
  });

  it("means the same on the wire, and says what each field means", async () => {
    const registry = await compiled("device");
    for (const original of [
      file_ota_v1_update_service,
      file_ota_v1_heartbeat_service,
      file_ota_v1_error_reason,
    ])
      expect(partsOf(registry, original)).toEqual(partsOf(undefined, original));
    const text = await readFile(join(folder, "device/ota/v1/update_service.proto"), "utf8");
    expect(text).toContain(
      "  // SHA-256 of the content: 64 lower-case hexadecimal digits.\n  string sha256 = 6;",
    );
  });
});

/** The messages and enums of a file as they go over the wire: those of the contract, or of the same names in the bundle. */
function partsOf(bundle: FileRegistry | undefined, { messages, enums }: DescFile): object {
  const fieldsOf = (message: DescMessage | undefined) => message?.fields.map(({ proto }) => wireForm(proto));
  const valuesOf = (words: DescEnum | undefined) => words?.values.map(({ name, number }) => [name, number]);
  return [
    ...messages.map((each) => [each.typeName, fieldsOf(bundle ? bundle.getMessage(each.typeName) : each)]),
    ...enums.map((each) => [each.typeName, valuesOf(bundle ? bundle.getEnum(each.typeName) : each)]),
  ];
}

function wireForm({
  name,
  number,
  type,
  label,
  typeName,
  jsonName,
  oneofIndex,
  proto3Optional,
}: FieldDescriptorProto) {
  return { name, number, type, label, typeName, jsonName, oneofIndex, proto3Optional };
}
