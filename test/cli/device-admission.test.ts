import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createProgram } from "../../src/cli/command-line.ts";
import { describeFailure } from "../../src/cli/failure.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { enrolDevice, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Who is let in, said on the command line. In this process, which is quicker than one for each command. */

let service: TestService;
let folder: string;
beforeAll(async () => {
  service = await startTestService();
  folder = await mkdtemp(join(tmpdir(), "device-ota-admission-"));
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
    await program.parseAsync([...args, ...connection], { from: "user" });
    return { exitCode: 0, ...printed };
  } catch (error) {
    return { ...describeFailure(error), ...printed };
  }
}

async function enrolled(enrolmentKey = service.enrolmentKey): Promise<string> {
  const serialNumber = `sn-${randomUUID()}`;
  await enrolDevice(service, { serialNumber, enrolmentKey });
  return serialNumber;
}

/** The secret of a key that the command line made. */
async function newKey(...options: string[]): Promise<string> {
  const { stdout } = await run("enrolment-key", "create", "--name", "line 3", "--json", ...options);
  return (JSON.parse(stdout) as { secret: string }).secret;
}

describe("how far a device is let in", () => {
  it.each([
    ["block", "unblock", "blocked", "it was blocked already", "it was not blocked"],
    [
      "quarantine",
      "approve",
      "quarantined",
      "it was in quarantine already",
      "it was neither in quarantine nor suspected",
    ],
  ])(
    "is changed by %s, and back by %s, each of which says what it did",
    async (verb, back, standing, twice, never) => {
      const serial = await enrolled();
      expect((await run("device", back, serial)).stderr).toContain(`Nothing changed: ${never}.`);
      const done = await run("device", verb, serial, "--reason", "found open");
      expect(done).toMatchObject({ exitCode: 0, stdout: `${serial} is ${standing}.\n`, stderr: "" });
      expect((await run("device", verb, serial)).stderr).toContain(`Nothing changed: ${twice}.`);
      expect((await run("device", "show", serial)).stdout).toMatch(
        new RegExp(`^standing +${standing}$`, "m"),
      );
      const events = await run("audit", "list", "--action", `device.${verb}`);
      expect(events.stdout).toContain("found open");
      expect((await run("device", back, serial)).stdout).toBe(`${serial} is admitted.\n`);
    },
  );

  it("is changed for those who are named, and for those whom a filter matches as the dry run said", async () => {
    const serials = [await enrolled(), await enrolled(), await enrolled()];
    const [first = "", second = ""] = serials;
    const named = await run("device", "batch", first, second, "--standing", "quarantine");
    expect(named.stdout).toBe("2 of 2 devices changed.\n");
    const filter = `(${serials.map((serial) => `serial_number = ${serial}`).join(" OR ")})`;
    const approve = ["device", "batch", "--filter", filter, "--standing", "approve"];
    expect((await run(...approve, "--dry-run")).stdout).toBe("2 of 3 devices would be changed.\n");
    expect(await run(...approve, "--expect", "30")).toMatchObject({ exitCode: 5, reason: "COUNT_MISMATCH" });
    expect((await run(...approve, "--expect", "3")).stdout).toBe("2 of 3 devices changed.\n");
    expect((await run("device", "batch", first, "--standing", "banish")).exitCode).toBe(2);
  });
});

describe("who may come back", () => {
  it("is said by reset, and for who was retired by reinstate", async () => {
    const serial = await enrolled();
    expect(await refusal(enrolDevice(service, { serialNumber: serial }))).toMatchObject({
      reason: "DUPLICATE",
    });
    expect((await run("device", "reset", serial)).stdout).toMatch(/may enrol once until \d{4}-/);
    expect((await run("device", "show", serial)).stdout).toMatch(/^may enrol until +\d{4}-/m);
    await enrolDevice(service, { serialNumber: serial });

    const notRetired = await run("device", "reinstate", serial);
    expect(notRetired).toMatchObject({ exitCode: 5, reason: "ILLEGAL_TRANSITION" });
    await run("device", "retire", serial);
    expect(await run("device", "block", serial)).toMatchObject({ exitCode: 5, reason: "ILLEGAL_TRANSITION" });
    expect((await run("device", "reinstate", serial)).stdout).toMatch(
      new RegExp(`^${serial} may enrol once until \\d{4}-`),
    );
    await enrolDevice(service, { serialNumber: serial });
  });
});

describe("an enrolment key", () => {
  it("for serial numbers of a file, of the command line and of patterns is listed so, and holds to it", async () => {
    const file = join(folder, "serials.txt");
    const batch = randomUUID();
    await writeFile(file, `\uFEFFfile-${batch}\r\n\r\n  with blanks ${batch}  \n`);
    const limits = ["--serial-number-file", file, "--serial-number", `one-${batch},two-${batch}`];
    const enrolmentKey = await newKey(...limits, "--serial-number-pattern", `TH-${batch}-*`);
    for (const name of ["file-", "with blanks ", "one-", "two-"])
      await enrolDevice(service, { serialNumber: `${name}${batch}`, enrolmentKey });
    await enrolDevice(service, { serialNumber: `TH-${batch}-7`, enrolmentKey });
    const stranger = enrolDevice(service, { serialNumber: `three-${batch}`, enrolmentKey });
    expect(await refusal(stranger)).toMatchObject({ reason: "SERIAL_NUMBER_NOT_ALLOWED" });
    const { stdout } = await run("enrolment-key", "list");
    expect(stdout).toMatch(/^ID .* SERIAL NUMBERS +APPROVAL /);
    expect(stdout).toMatch(new RegExp(`TH-${batch}-\\*, 4 named ones`));
  });

  it("that asks for approval is listed so, and its devices are in quarantine", async () => {
    const serial = await enrolled(await newKey("--require-approval"));
    expect((await run("enrolment-key", "list", "--limit", "1")).stdout).toMatch(/ required +/);
    expect((await run("device", "show", serial)).stdout).toMatch(/^standing +quarantined$/m);
    expect((await run("device", "approve", serial)).stdout).toBe(`${serial} is admitted.\n`);
  });

  it("with what is no serial number in its file is refused with its place", async () => {
    const file = join(folder, "wrong.txt");
    await writeFile(file, "fine\nnot\tfine\n");
    const refused = await run("enrolment-key", "create", "--name", "x", "--serial-number-file", file);
    expect(refused).toMatchObject({ exitCode: 2, fields: [{ field: "serial_numbers[1]" }] });
  });
});
