import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { placeOf, readAnchors } from "./audit-anchors.ts";
import { CliError, exitCodes } from "./failure.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-anchors-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

const hash = "a1".repeat(32);

function anchor(sequence: unknown, itsHash: unknown = hash): string {
  const line = {
    level: 30,
    time: "2026-11-30T00:00:00.000Z",
    event: "audit.anchor",
    sequence,
    hash: itsHash,
  };
  return JSON.stringify({ ...line, msg: "the audit log up to this event has this hash" });
}

async function read(...lines: string[]): Promise<string[]> {
  const path = join(folder, "service.log");
  await writeFile(path, `${lines.join("\n")}\n`);
  return (await readAnchors(path)).map((place) => `${place.sequence}:${place.hash}`);
}

describe("readAnchors", () => {
  it("reads the service's own lines, and what syslog and compose write before them", async () => {
    const syslog = `Nov 30 00:00:00 host device-ota[7]: ${anchor(2)}`;
    expect(await read(anchor(1), syslog, `device-ota-1  | ${anchor(3)}`)).toEqual([
      `1:${hash}`,
      `2:${hash}`,
      `3:${hash}`,
    ]);
  });

  it("takes off what Docker and journald put around a line", async () => {
    const docker = JSON.stringify({ log: `${anchor(1)}\n`, stream: "stdout", time: "2026-11-30T00:00:00Z" });
    const journald = JSON.stringify({ PRIORITY: "6", _PID: "7", MESSAGE: anchor(2) });
    expect(await read(docker, journald)).toEqual([`1:${hash}`, `2:${hash}`]);
  });

  it("passes over lines that only speak of an anchor, are cut off, or tell no place", async () => {
    const spoken = JSON.stringify({ level: 30, msg: "audit.anchor is on" });
    const others = ['    event: "audit.anchor"', '"audit.anchor"}', anchor(4).slice(0, -10), spoken];
    const noPlaces = [anchor(0), anchor(5, "x"), anchor(undefined), '{"log":7,"MESSAGE":"audit.anchor"}'];
    expect(await read(...others, ...noPlaces, anchor(6))).toEqual([`6:${hash}`]);
  });

  it("keeps the newest thousand", async () => {
    const places = await read(...Array.from({ length: 1_200 }, (_, n) => anchor(n + 1)));
    expect(places).toHaveLength(1_000);
    expect(places[0]).toBe(`201:${hash}`);
    expect(places.at(-1)).toBe(`1200:${hash}`);
  });

  it("says so when there is none", async () => {
    const error = await read('    event: "audit.anchor"', "audit.anchor").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CliError);
    expect(error).toMatchObject({
      exitCode: exitCodes.usage,
      message: expect.stringContaining("no audit.anchor"),
    });
  });

  it("fails with the system's words where there is no file to read", async () => {
    await expect(readAnchors(join(folder, "none"))).rejects.toThrow("ENOENT");
    await expect(readAnchors(folder)).rejects.toThrow("EISDIR");
  });
});

describe("placeOf", () => {
  it("takes a sequence number from 1 and a hash of 64 digits, and nothing else", () => {
    expect(placeOf(`12:${hash}`)).toMatchObject({ sequence: 12n, hash });
    for (const text of [`0:${hash}`, `-1:${hash}`, `1:${hash}0`, `1:${hash.toUpperCase()}`, hash, ""]) {
      expect(placeOf(text), text).toBeUndefined();
    }
  });
});
