import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { createProgram } from "../../src/cli/command-line.ts";
import { describeFailure } from "../../src/cli/failure.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { enrolDevice } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { whoAmI } from "../support/who-am-i.ts";

/** Inventories on the command line, in this process. */

let service: TestService;
let folder: string;
beforeAll(async () => {
  service = await startTestService();
  folder = await mkdtemp(join(tmpdir(), "device-ota-import-"));
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function run(...args: string[]) {
  const printed = { stdout: "", stderr: "" };
  const terminal = createTerminal(
    { write: (text: string) => void (printed.stdout += text) },
    { write: (text: string) => void (printed.stderr += text) },
    {},
  );
  const program = createProgram({ terminal, signal: new AbortController().signal, env: {} });
  const connection = ["--server", service.grpcAddress, "--token", service.adminToken];
  try {
    await program.parseAsync(["device", "import", ...args, ...connection], { from: "user" });
    return { exitCode: 0, ...printed };
  } catch (error) {
    return { ...describeFailure(error), ...printed };
  }
}

async function file(ending: string, text: string): Promise<string> {
  const path = join(folder, `${randomUUID()}.${ending}`);
  await writeFile(path, text);
  return path;
}

async function found(serialNumberPrefix: string) {
  const { devices } = await service.client().unary(DeviceService.method.listDevices, { serialNumberPrefix });
  return devices.toSorted((one, other) => one.serialNumber.localeCompare(other.serialNumber));
}

describe("device import", () => {
  it("registers the devices of a CSV file, which enrol by themselves, and leaves them as they are when it comes again", async () => {
    const lot = randomUUID();
    const path = await file(
      "csv",
      [
        "\uFEFFhardware_model,serial_number,device_type,groups,display_name,metadata.site",
        `tx-200,${lot}-1,thermostat,berlin; lab,"Hall, ""north""",7`,
        "",
        `tx-200,${lot}-2,thermostat,,,`,
      ].join("\r\n"),
    );
    expect(await run(path)).toMatchObject({
      exitCode: 0,
      stdout: "2 registered, 0 in service before, 0 refused.\n",
    });
    expect(await found(lot)).toMatchObject([
      {
        hardwareModel: "tx-200",
        groups: ["berlin", "lab"],
        displayName: 'Hall, "north"',
        metadata: { site: "7" },
      },
      { groups: [], displayName: "", metadata: {} },
    ]);
    const enrolled = await enrolDevice(service, { serialNumber: `${lot}-1` });
    expect(enrolled.id).toBe((await found(lot))[0]?.id);
    expect((await run(path)).stdout).toBe("0 registered, 2 in service before, 0 refused.\n");
  });

  it("writes the tokens of an NDJSON file's devices where nobody else reads them, and over no other file", async () => {
    const lot = randomUUID();
    const rows = Array.from({ length: 1_200 }, (_, place) => ({
      serialNumber: `${lot}-${place}`,
      deviceType: "thermostat",
      hardware_model: "tx-200",
    }));
    const path = await file("ndjson", rows.map((row) => JSON.stringify(row)).join("\n"));
    const tokens = join(folder, `${lot}.tokens`);
    expect(JSON.parse((await run(path, "--tokens", tokens, "--json")).stdout)).toEqual({
      created: 1_200,
      existing: 0,
      refused: 0,
      failures: [],
    });
    expect((await stat(tokens)).mode & 0o777).toBe(0o600);
    const lines = (await readFile(tokens, "utf8")).trimEnd().split("\n");
    const given = lines.map((line) => JSON.parse(line) as { deviceId: string; deviceToken: string });
    expect(given).toHaveLength(1_200);
    const last = given.at(-1);
    expect(await whoAmI.grpc(service, last?.deviceToken ?? "")).toMatchObject({ deviceId: last?.deviceId });
    expect((await run(path, "--tokens", tokens)).exitCode).toBe(5);
  });

  it("says of each row what is wrong with it, and registers the others", async () => {
    const lot = randomUUID();
    const csv = await file(
      "csv",
      `serial_number,device_type,hardware_model\n${lot}-1,thermostat,tx-200\n${lot}-2,thermostat\n,thermostat,tx-200\n${lot}-1,thermostat,tx-200\n`,
    );
    const refused = await run(csv);
    expect(refused).toMatchObject({
      exitCode: 1,
      stdout: "1 registered, 0 in service before, 3 refused.\n",
    });
    expect(refused.stderr).toContain("line 3: has 2 columns, and the header 3");
    expect(refused.stderr).toContain("line 4: serial_number");
    expect(refused.stderr).toContain(`line 5 (${lot}-1): `);
    const json = await file(
      "jsonl",
      `{"serialNumber": "${lot}-3", "deviceType": "thermostat", "hardwareModel": "tx-200"}\n{"serialNumber": 7}\nno JSON\n`,
    );
    const { failures, ...counts } = JSON.parse((await run(json, "--json")).stdout);
    expect(counts).toEqual({ created: 1, existing: 0, refused: 2 });
    expect(failures.map(({ line }: { line: number }) => line)).toEqual([2, 3]);
    expect((await found(lot)).map(({ serialNumber }) => serialNumber)).toEqual([`${lot}-1`, `${lot}-3`]);
  });

  it.each([
    ["csv", "serial_number,colour\n1,red\n", "colour"],
    ["csv", "serial_number,serial_number\n1,2\n", "twice"],
    ["csv", 'serial_number\n"1\n', "no CSV"],
    ["txt", "serial_number\n1\n", "--format"],
  ])("refuses a %s file that is %o", async (ending, text, why) => {
    const refused = await run(await file(ending, text));
    expect(refused.exitCode).toBe(2);
    expect(JSON.stringify(refused)).toContain(why);
  });

  it("refuses a file that is not there", async () => {
    expect((await run(join(folder, "none.csv"))).exitCode).not.toBe(0);
  });
});
