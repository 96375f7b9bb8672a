import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StackKind } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { type EnrolledDevice, enrolDevice, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { runCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

/**
 * `agent-1.elf` and `agent-2.elf` are two builds of a program whose `poll_sensors` calls `read_sensor`; the second has one more
 * function, so that all lies elsewhere. `agent-stripped.elf` is the first without symbols. `firmware.elf` is the program for 32
 * bits at fixed addresses and without a build id.
 */
const folder = join(import.meta.dirname, "symbols");

const builds = {
  first: { id: "614eef2f214e4e0f9793d8a65a3f636734e807dc", read: 0x1f5, poll: 0x1ff },
  second: { id: "c614bdb91423cad004e271519a22f5a139cede78", read: 0x217, poll: 0x229 },
} as const;

const { method } = ErrorService;

let service: TestService;
let device: EnrolledDevice;

beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_AUTHENTICATION_SECONDS: "1" } });
  device = await enrolDevice(service);
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

async function upload(name: string, content?: Uint8Array) {
  const data = content ?? (await readFile(join(folder, name)));
  const { symbolFile } = await service.client().clientStream(method.uploadSymbolFile, chunksOf(name, data));
  if (symbolFile === undefined) throw new Error("no symbol file");
  return symbolFile;
}

async function* chunksOf(fileName: string, data: Uint8Array) {
  for (let offset = 0; offset < data.length; offset += 1_000) {
    yield {
      fileName: offset === 0 ? fileName : "",
      data: new Uint8Array(data.subarray(offset, offset + 1_000)),
    };
  }
}

const withoutTools = "neither llvm-symbolizer nor addr2line could be run on the service's machine";

let sequence = 0;

/** Reports a crash and returns the titles and reasons of the groups with its code. */
async function grouped(code: string, stacks: readonly string[], context: Record<string, string> = {}) {
  const errors = stacks.map((stack) => ({ code, message: "crash", stack, fatal: true, context }));
  await service.client(device.token).unary(HeartbeatService.method.sendHeartbeat, {
    deviceId: device.id,
    heartbeats: [{ sequence: BigInt(++sequence), firmwareVersion: "1.2.0", bootId: "b1", errors }],
  });
  return await eventually(async () => {
    const { groups } = await service.client().unary(method.listErrorGroups, { text: code });
    const counted = groups.reduce((sum, { occurrenceCount }) => sum + Number(occurrenceCount), 0);
    expect(counted).toBe(stacks.length);
    return groups.map(({ groupedBy }) => groupedBy);
  });
}

function coredump({ id, read, poll }: { id: string; read: number; poll: number }): string {
  return `Module agent with build-id ${id}
Stack trace of thread 77:
#0  0x00005581aaaa0001 n/a (agent + 0x${read.toString(16)})
#1  0x00005581aaaa0002 n/a (agent + 0x${poll.toString(16)})
`;
}

describe("symbol files", () => {
  it("give addresses the names of functions, so that two builds are one group", async () => {
    expect(await grouped("BARE", [coredump(builds.first), coredump(builds.second)])).toHaveLength(2);

    const file = await upload("agent-1.elf");
    expect(file).toMatchObject({ buildId: builds.first.id, fileName: "agent-1.elf", functionCount: 3n });
    expect(await upload("agent-1.elf")).toEqual(file);
    await upload("agent-2.elf");
    expect(await grouped("NAMED", [coredump(builds.first), coredump(builds.second)])).toEqual([
      "stack (native), in read_sensor, called by poll_sensors",
    ]);
    // The build may stand beside the stack, and an offset outside of any function stays one.
    const glibc = "/usr/bin/agent(+0x1f5)[0x5581aaaa01f5]\n/usr/bin/agent(+0x9999)[0x5581aaaa9999]\n";
    expect(await grouped("BESIDE", [glibc], { build_id: builds.first.id })).toEqual([
      "stack (native), in read_sensor, called by agent+0x9999 of 614eef2f214e",
    ]);
  });

  it("name the addresses of a microcontroller by the digest of its ELF file", async () => {
    const content = await readFile(join(folder, "firmware.elf"));
    const sha256 = createHash("sha256").update(content).digest("hex");
    expect(await upload("firmware.elf")).toMatchObject({ buildId: "", sha256 });
    const crash = `Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.

Backtrace: 0x08048098:0x3ffb1f30 0x080480b6:0x3ffb1f50

ELF file SHA256: ${sha256.slice(0, 9)}
`;
    expect(await grouped("MCU", [crash])).toEqual([
      "stack (microcontroller): LoadProhibited, in read_sensor, called by poll_sensors",
    ]);
  });

  it("are uploaded over HTTP as they are, and asked for by the builds that crashed without one", async () => {
    const id = builds.second.id;
    const { symbolFiles } = await service.client().unary(method.listSymbolFiles, {});
    for (const file of symbolFiles.filter(({ buildId }) => buildId === id))
      await service.client().unary(method.deleteSymbolFile, { id: file.id });
    await grouped("ASKED", [coredump(builds.second)]);
    const missing = async () => {
      const { missingBuilds } = await service.client().unary(method.listSymbolFiles, {});
      return missingBuilds.filter(({ buildId }) => buildId === id);
    };
    const [build] = await missing();
    expect(build).toMatchObject({ module: "agent" });
    expect(build?.groupCount).toBeGreaterThan(0);
    const { group } = await service.client().unary(method.getErrorGroup, { id: build?.groupId ?? "" });
    expect(group?.lastSeenTime).toEqual(build?.lastSeenTime);

    const post = async (
      body: Uint8Array<ArrayBuffer> | null,
      token: string,
      query = "?fileName=agent-2.elf",
    ) =>
      await fetch(`${service.httpUrl}/api/v1/symbolFiles${query}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" },
        body,
      });
    const content = new Uint8Array(await readFile(join(folder, "agent-2.elf")));
    const answer = await post(content, service.adminToken);
    expect([answer.status, await answer.json()]).toMatchObject([
      201,
      { symbolFile: { buildId: id, fileName: "agent-2.elf", sizeBytes: String(content.length) } },
    ]);
    expect(await missing()).toEqual([]);
    expect((await post(content, device.token)).status).toBe(403);
    expect((await post(null, service.adminToken)).status).toBe(400);
    expect((await post(content, service.adminToken, "?fileName=a&fileName=b")).status).toBe(400);
  });

  it("may take longer over HTTP than a connection may stay open without a call that is let in", async () => {
    const content = await readFile(join(folder, "agent-2.elf"));
    const { hostname, port } = new URL(service.httpUrl);
    const answer = await new Promise<number | undefined>((resolve, reject) => {
      const upload = request({
        host: hostname,
        port,
        method: "POST",
        path: "/api/v1/symbolFiles",
        headers: { authorization: `Bearer ${service.adminToken}`, "content-length": content.length },
        agent: false,
      });
      upload.on("error", reject).on("response", (response) => resolve(response.resume().statusCode));
      upload.write(content.subarray(0, 100));
      setTimeout(() => upload.end(content.subarray(100)), 3_000);
    });
    expect(answer).toBe(201);
  });

  it("name what the conditions of a rule are tried on", async () => {
    await upload("agent-1.elf");
    const report = { code: "TRIED", message: "poll of bus 1 failed", stack: coredump(builds.first) };
    const tried = async (conditions: object) =>
      await service.client().unary(method.tryGroupingRule, { ...conditions, report });
    expect(await tried({ frame: "READ_*", message: "*bus*" })).toMatchObject({
      holds: true,
      stackKind: StackKind.NATIVE,
      frames: ["read_sensor", "poll_sensors"],
      failedConditions: [],
      groupedBy: "stack (native), in read_sensor, called by poll_sensors",
    });
    expect(await tried({ code: "TRIED", fault: "SIGSEGV", message: "bus" })).toMatchObject({
      holds: false,
      failedConditions: ["fault", "message"],
    });
    expect(await tried({})).toMatchObject({ holds: false, failedConditions: [] });
  });

  it("tell the source lines of a group's addresses where a tool is installed", async () => {
    const id = "62127a64a882a6f531c7c937620e3879a27f9ee5";
    await grouped("LINES", [coredump({ id, read: 0x1f5, poll: 0x201 })]);
    const { groups } = await service.client().unary(method.listErrorGroups, { text: "LINES" });
    const groupId = groups[0]?.id ?? "";
    expect(await service.client().unary(method.getSourceLines, { id: groupId })).toMatchObject({
      lines: [],
      missing: `no symbol file of build ${id} was uploaded`,
    });
    await upload("agent-lines.elf");
    const { lines, missing } = await service.client().unary(method.getSourceLines, { id: groupId });
    const found = lines.map(({ address, function: name, file, line }) => [address, name, file, line]);
    // Without the tools the answer says so.
    expect(missing === "" ? found : missing).toEqual(
      missing === ""
        ? [
            ["agent+0x1f5", "read_sensor", "/src/t.c", 2],
            ["agent+0x201", "poll_sensors", "/src/t.c", 3],
          ]
        : withoutTools,
    );
  });

  it("tell the line that a caller called from, though only what it called has a name", async () => {
    const id = "62127a64a882a6f531c7c937620e3879a27f9ee5";
    await upload("agent-lines.elf");
    // Where a function ends with a call, the caller's address is the next function's.
    await grouped("CALLER", [
      `Module agent with build-id ${id}
Stack trace of thread 77:
#0  0x00005581aaaa0001 abort (libc.so.6 + 0x2a1)
#1  0x00005581aaaa0002 n/a (agent + 0x1fb)
`,
    ]);
    const { groups } = await service.client().unary(method.listErrorGroups, { text: "CALLER" });
    expect(groups[0]?.groupedBy).toContain("in read_sensor");
    const { lines, missing } = await service
      .client()
      .unary(method.getSourceLines, { id: groups[0]?.id ?? "" });
    const found = lines.map(({ address, function: name, file, line }) => [address, name, file, line]);
    expect(missing === "" ? found : missing).toEqual(
      missing === "" ? [["agent+0x1fb", "read_sensor", "/src/t.c", 2]] : withoutTools,
    );
  });

  it("are refused if they are none, or were stripped, and leave nothing behind", async () => {
    const stripped = await readFile(join(folder, "agent-stripped.elf"));
    const whole = await readFile(join(folder, "agent-1.elf"));
    const before = await service.client().unary(method.listSymbolFiles, {});
    for (const [content, words] of [
      [Buffer.from("no ELF file"), "no ELF file"],
      [Buffer.alloc(0), "no ELF file"],
      [stripped, "from before strip"],
      [whole.subarray(0, 3_000), "ends too early"],
      [whole.subarray(0, 60), "ends too early"],
    ] as const) {
      await expect(upload("bad.elf", content)).rejects.toThrow(words);
      expect(await refusal(upload("bad.elf", content))).toMatchObject({
        code: "INVALID_ARGUMENT",
        fields: ["data"],
      });
    }
    expect(await service.client().unary(method.listSymbolFiles, {})).toEqual(before);
  });

  it("are uploaded, listed and deleted by the command line", async () => {
    const env = { DEVICE_OTA_SERVER: service.grpcAddress, DEVICE_OTA_TOKEN: service.adminToken };
    const run = (...args: string[]) => runCli([...args, "--json"], { cwd: folder, env });
    const uploaded = await run("symbols", "upload", "agent-2.elf");
    expect(uploaded).toMatchObject({ exitCode: 0 });
    const { symbolFile } = JSON.parse(uploaded.stdout) as { symbolFile: { id: string; buildId: string } };
    expect(symbolFile.buildId).toBe(builds.second.id);
    expect((await run("symbols", "list")).stdout).toContain(symbolFile.id);
    expect(await run("symbols", "delete", symbolFile.id)).toMatchObject({ exitCode: 0 });
    expect((await run("symbols", "list")).stdout).not.toContain(symbolFile.id);
  });
});
