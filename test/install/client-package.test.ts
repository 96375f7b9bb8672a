import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

/*
 * The package for vendors and internal services, in a project that has nothing but what it names. That npm installs it, and a device runs
 * on it, is tested with the examples (test/examples).
 */

const root = join(import.meta.dirname, "../..");

let project: string;
let description: {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, unknown>>;
};
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "client package "));
  const installed = join(project, "node_modules/device-ota-client");
  execFileSync(process.execPath, [join(root, "scripts/client-package/write.ts"), installed]);
  description = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  // The compiler's own types are the project's business.
  for (const name of [...Object.keys(description.dependencies), "@types/node"]) {
    mkdirSync(dirname(join(project, "node_modules", name)), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
  writeFileSync(join(project, "package.json"), '{ "type": "module" }');
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

it("needs nothing of the service's but what speaks gRPC, and checks and follows firmware", () => {
  expect(Object.keys(description.dependencies)).toEqual([
    "@bufbuild/protobuf",
    "@bufbuild/protovalidate",
    "@grpc/grpc-js",
    "@node-rs/crc32",
    "@tufjs/canonical-json",
    "@tufjs/models",
    "pino",
    "semver",
    "tuf-js",
  ]);
});

it("has the service's whole contract, client and agent", () => {
  const program = `
    import { RpcClient } from "device-ota-client";
    import { DeviceAgent } from "device-ota-client/agent";
    import { TelemetryService } from "device-ota-client/ota/v1/telemetry_service_pb.js";
    console.log(RpcClient.name, DeviceAgent.name, TelemetryService.typeName);`;
  const said = execFileSync(process.execPath, ["--input-type=module", "--eval", program], { cwd: project });
  expect(said.toString()).toBe("RpcClient DeviceAgent ota.v1.TelemetryService\n");
});

it("is typed: the example device compiles with it in the strictest way", () => {
  const files = ["device.ts", "manifest.ts"];
  for (const file of files) cpSync(join(root, "examples/device-node", file), join(project, file));
  const strict = { strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true, noEmit: true };
  const options = { ...strict, target: "es2025", lib: ["es2025", "esnext.disposable"], types: ["node"] };
  const config = { compilerOptions: { ...options, module: "nodenext" }, files };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(root, "node_modules/.bin/tsc");
  expect(() => execFileSync(tsc, ["--project", project])).not.toThrow();
  writeFileSync(
    join(project, "device.ts"),
    'import { DeviceAgent } from "device-ota-client/agent"; new DeviceAgent({});',
  );
  expect(() => execFileSync(tsc, ["--project", project], { stdio: "pipe" })).toThrow();
});
