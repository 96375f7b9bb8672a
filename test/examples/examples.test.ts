import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { eventually } from "../support/eventually.ts";
import { compileCache } from "../support/run-cli.ts";
import { startTestService } from "../support/service.ts";
import { BuiltExamples } from "./built-examples.ts";
import { ExampleDevice, examples } from "./example-device.ts";
import { byToolchain, type Example, exampleDevices, exampleServices } from "./toolchains.ts";
import { manifestVectors, signatureVectors, verdicts } from "./vectors.ts";

/*
 * Every example device takes part in one story, beside the others and against a real service: it enrols, beats, is updated by
 * the pipeline of examples/ci-release over a network that breaks in the middle of the download, proves it, and is rolled back.
 */

const imageBytes = 3_000_000;
const run = promisify(execFile);

const { ready, missing } = await byToolchain(exampleDevices);

describe.skipIf(missing.length === 0)("without what they need", () => {
  for (const { name, needs } of missing) it.skip(`${name} is not run: ${needs}`);
});

it("run on no machine without tools, and each says what it needs", async () => {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-no-tools-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const all = [...exampleDevices, ...exampleServices];
  expect(await byToolchain<Example>(all, folder)).toEqual({ ready: [], missing: all });
});

describe.skipIf(ready.length === 0)("what this machine has the tools for", () => {
  let built: BuiltExamples;
  beforeAll(async () => {
    built = await BuiltExamples.build(ready);
  });
  afterAll(() => built?.[Symbol.asyncDispose]());

  it.each(ready)("$name believes no manifest but one that is right", async (example) => {
    const vectors = await manifestVectors();
    const expected = vectors.cases.map(({ what, valid }) => ({
      what,
      verdict: valid && !example.cannotRead.includes(what) ? "believed" : "INVALID_MANIFEST",
    }));
    expect(await verdicts(example, built.folder(example), vectors)).toEqual(expected);
  });

  it.each(ready)("$name believes right signatures of each kind, and no others", async (example) => {
    for (const vectors of await signatureVectors()) {
      const expected = vectors.cases.map(({ what, valid }) => ({
        what,
        verdict: valid || example.takesToo?.includes(what) ? "believed" : "SIGNATURE_INVALID",
      }));
      expect(await verdicts(example, built.folder(example), vectors)).toEqual(expected);
    }
  });

  const oneMemory = ready.filter(({ name }) => /-(?:c|go|python)$/.test(name));
  it.each(oneMemory)("$name stops where its memory is damaged, and forgets nothing", async (example) => {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-damaged-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const damaged = '{"token":"of this device","counter":7';
    await writeFile(join(folder, "version"), "1.0.0\n");
    await writeFile(join(folder, "memory"), damaged);
    const told = {
      SERVICE: "http://127.0.0.1:9",
      ENROLMENT_KEY: "key",
      SERIAL_NUMBER: "damaged",
      PRODUCT: "p",
    };
    const env = { ...told, DEVICE_TYPE: "t", HARDWARE_MODEL: "m", TRUSTED_KEY: "", INSTALL_HOOK: "" };
    const ended = run("sh", ["-c", `exec env ${example.program.command}`], {
      env: { ...env, PATH: process.env["PATH"], STATE_DIR: folder, BUILT: built.folder(example) },
      // One that begins anew asks the service for ever.
      timeout: 60_000,
    });
    await expect(ended).rejects.toMatchObject({ killed: false });
    expect(await readFile(join(folder, "memory"), "utf8")).toBe(damaged);
  });

  it("are released to, break off, go on, prove the update, go back, and fail a bad release", async () => {
    await using opened = new AsyncDisposableStack();
    const service = opened.use(await startTestService());
    const folder = await mkdtemp(join(tmpdir(), "device-ota-examples-"));
    opened.defer(() => rm(folder, { recursive: true, force: true }));
    await symlink(join(examples, "../bin/device-ota"), join(folder, "device-ota"));
    const story = {
      PRODUCT: "example-os",
      DEVICE_TYPE: "example",
      HARDWARE_MODEL: "ex-1",
      ENROLMENT_KEY: service.enrolmentKey,
      TRUSTED_KEY: join(folder, "release.pub.pem"),
      INSTALL_HOOK: join(folder, "install-hook"),
    };
    const env = {
      ...story,
      PATH: `${folder}:${process.env["PATH"]}`,
      NODE_COMPILE_CACHE: compileCache,
      SERVICE: service.httpUrl,
      DEVICE_OTA_SERVER: service.grpcAddress,
      DEVICE_OTA_TOKEN: service.adminToken,
      SIGNING_KEY: join(folder, "release.key.pem"),
      RINGS: "canary=1devices,production=100%",
      SOAK: "0s",
      VERIFY_FOR: "0s",
      POLL_SECONDS: "0.5",
      TIMEOUT_SECONDS: "150",
    };
    const shell = async (command: string, changed: Readonly<Record<string, string>> = {}): Promise<string> =>
      (await run("sh", ["-euc", command], { cwd: folder, env: { ...env, ...changed } })).stdout;

    const images = {
      "1.0.0": randomBytes(imageBytes),
      "1.1.0": randomBytes(imageBytes),
      "1.2.0": randomBytes(1000),
    };
    for (const [version, image] of Object.entries(images)) await writeFile(join(folder, version), image);
    await writeFile(story.INSTALL_HOOK, hookThatCannotInstall("1.2.0"));
    await chmod(story.INSTALL_HOOK, 0o755);
    await shell(`device-ota firmware keygen --out release
      device-ota signing-key register --name release release.pub.pem
      device-ota firmware publish 1.0.0 --key release.key.pem --product "$PRODUCT" --version 1.0.0 --device-type "$DEVICE_TYPE"`);

    const devices: ExampleDevice[] = [];
    for (const example of ready) {
      const { name, program } = example;
      const device = ExampleDevice.start(`example-${name}`, program, service, story, built.folder(example));
      devices.push(opened.use(await device));
    }
    onTestFinished(() => {
      process.stdout.write(`${devices.map(({ output }) => output).join("\n")}\n`);
    });
    await Promise.all(devices.map((device) => saysAll(device, ["enrolled", "runs 1.0.0"])));

    const release = join(examples, "ci-release/release");
    const released = await shell(`${release} 1.1.0 1.1.0`);
    process.stdout.write(`${released}\n`);
    expect(released).toContain(": completed");
    for (const device of devices) {
      expect(await device.slot()).toEqual(images["1.1.0"]);
      expect(device.output).toMatch(/goes on at byte [1-9]\d* of 3000000/);
      // A download that began anew after the break would have brought two thirds of the image twice.
      expect(device.receivedBytes).toBeLessThan(imageBytes * 1.3);
    }

    const rollouts = service.client();
    const { rollouts: listed } = await rollouts.unary(RolloutService.method.listRollouts, {});
    const id = listed[0]?.id ?? "";
    await rollouts.unary(RolloutService.method.rollbackRollout, { id });
    await eventually(async () => {
      const { rollout } = await rollouts.unary(RolloutService.method.getRollout, { id });
      expect(rollout?.state).toBe(RolloutState.ROLLED_BACK);
      expect(Number(rollout?.rollback?.completed)).toBe(devices.length);
    });
    for (const device of devices) expect(await device.slot()).toEqual(images["1.0.0"]);

    const failed = shell(`${release} 1.2.0 1.2.0`, { FAILURE_MIN_SAMPLE: "1" });
    await expect(failed).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringContaining(": canary") as string,
      stderr: expect.stringMatching(/^ROLLOUT_STATE_ROLL(?:ING|ED)_BACK: .*1 failed/m) as string,
    });
    expect(devices.map(({ output }) => output).join("")).toContain("FAILED INSTALL_FAILED");
    for (const device of devices) expect(await device.slot()).toEqual(images["1.0.0"]);
  });
});

/** The install hook of the examples, which finds the image of one version to be no good. */
function hookThatCannotInstall(version: string): string {
  return `#!/bin/sh\n[ "$1 \${3:-}" != "install ${version}" ] && exec ${join(examples, "install-hook")} "$@"\n`;
}

async function saysAll(device: ExampleDevice, lines: readonly string[]): Promise<void> {
  await eventually(() => {
    for (const line of lines) expect(device.output).toContain(line);
  });
}
