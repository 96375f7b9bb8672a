// Writes the contract as whoever writes a client in another language needs it, with nothing to fetch and one folder to name:
//
//   all/      everything: ota/v1 with package names for Go, Java and C#, and the protos of others that it imports
//   device/   what a device calls, without annotations and so without imports but google/protobuf: for nanopb and the like
//   vectors/  the test vectors of the device protocol; beside them this protocol and the recipes, as pages
//
// Usage: node scripts/proto-bundle/write.ts FOLDER

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  createFileRegistry,
  type DescFile,
  type FileRegistry,
  fromBinary,
  getExtension,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ErrorReasonSchema } from "../../gen/ota/v1/error_reason_pb.js";
import { access } from "../../gen/ota/v1/method_access_pb.js";
import { filesNamedBy, printProto } from "./print-proto.ts";

const root = join(import.meta.dirname, "../..");

/** Names of the generated code: here and not in the contract, because they are a matter of its users (so says buf of them). */
const fileOptions: readonly string[] = [
  'option csharp_namespace = "DeviceOta.V1";',
  'option go_package = "deviceota/ota/v1;otav1";',
  "option java_multiple_files = true;",
  'option java_package = "deviceota.v1";',
];

/** Its reasons are in the details of errors, which no method names. */
const errorReasons = ErrorReasonSchema.file.name;

const folder = process.argv[2];
if (folder === undefined) throw new Error("usage: write.ts FOLDER");
rmSync(folder, { recursive: true, force: true });
writeAll(join(folder, "all"));
writeDevice(join(folder, "device"));
cpSync(join(root, "docs/vectors"), join(folder, "vectors"), { recursive: true });
for (const page of ["languages.md", "device-protocol.md"])
  cpSync(join(root, "docs", page), join(folder, page));
cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));

function writeAll(target: string): void {
  cpSync(join(root, "proto/third_party"), target, { recursive: true });
  cpSync(join(root, "proto/ota"), join(target, "ota"), { recursive: true });
  for (const name of readdirSync(join(target, "ota/v1"))) {
    const path = join(target, "ota/v1", name);
    const text = readFileSync(path, "utf8");
    const named = text.replace(/^package ota\.v1;\n/m, (line) => `${line}\n${fileOptions.join("\n")}\n`);
    if (named === text) throw new Error(`${name} has no package`);
    writeFileSync(path, named);
  }
}

function writeDevice(target: string): void {
  const image = imageOf([...deviceMethods(), ErrorReasonSchema.typeName]);
  // What neither of these names is of annotations alone.
  const roots = [...image.files].filter(({ services, name }) => services.length > 0 || name === errorReasons);
  for (const file of withNamed(roots)) {
    if (!file.name.startsWith("ota/")) continue;
    const path = join(target, `${file.name}.proto`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, printProto(file, fileOptions));
  }
}

/** Files with all those whose types they name, themselves or by others. */
function withNamed(files: readonly DescFile[]): ReadonlySet<DescFile> {
  const found = new Set(files);
  for (const file of found) for (const named of filesNamedBy(file)) found.add(named);
  return found;
}

/** The methods that a device may call, as the contract says it. */
function deviceMethods(): readonly string[] {
  const services = [...imageOf([]).files].flatMap((file) => file.services);
  const methods = services.flatMap((service) => service.methods);
  return methods.flatMap(({ proto, parent, name }) => {
    if (proto.options === undefined) return [];
    const { device, enrolmentKey } = getExtension(proto.options, access);
    return device || enrolmentKey ? [`${parent.typeName}.${name}`] : [];
  });
}

/** The contract with its comments: these methods and types and what they need, or all of it. */
function imageOf(names: readonly string[]): FileRegistry {
  const scratch = mkdtempSync(join(tmpdir(), "device-ota-protos-"));
  try {
    const image = join(scratch, "image.binpb");
    const types = names.flatMap((name) => ["--type", name]);
    const buf = join(root, "node_modules/.bin/buf");
    execFileSync(
      buf,
      ["build", "--path", "proto/ota", ...types, "--as-file-descriptor-set", "--output", image],
      {
        cwd: root,
        stdio: ["ignore", "ignore", "inherit"],
      },
    );
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
