import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { expect, it } from "vitest";
import { systemClock } from "./clock.ts";
import { Descriptors } from "./descriptors.ts";

it("leaves the last tenth to the service, and half of that to the port of probes and operators", async () => {
  await using system = await FakeSystem.make("20");
  const { descriptors } = system;
  await system.open(10);
  await descriptors.round.run();
  const devices = descriptors.share("most");
  const operators = descriptors.share("last");

  expect(takenOf(devices, 20)).toBe(8);
  expect(descriptors.scarcity).toMatch(/^18 of the 20 files and connections /);
  expect(takenOf(operators, 20)).toBe(1);
  operators.giveBack();
  devices.giveBack();
  expect(takenOf(devices, 20)).toBe(1);

  // What was closed elsewhere is seen by the next count; little less is no reason to say that all is well.
  await system.open(17);
  await descriptors.round.run();
  expect(descriptors.scarcity).toBeDefined();
  await system.open(16);
  await descriptors.round.run();
  expect(descriptors.scarcity).toBeUndefined();
  expect(system.said).toEqual(["warn", "info"]);
});

it("refuses nothing where there is no limit, or none that can be read", async () => {
  await using system = await FakeSystem.make("unlimited");
  await system.open(10);
  for (const remove of [false, true]) {
    if (remove) await system.remove();
    await system.descriptors.round.run();
    expect(takenOf(system.descriptors.share("most"), 1_000)).toBe(1_000);
  }
});

/** What Linux tells of a process. */
class FakeSystem implements AsyncDisposable {
  readonly descriptors: Descriptors;
  readonly said: string[] = [];
  readonly #folder: string;

  static async make(limit: string): Promise<FakeSystem> {
    const system = new FakeSystem(await mkdtemp(join(tmpdir(), "device-ota-descriptors-")));
    await system.allow(limit);
    return system;
  }

  private constructor(folder: string) {
    this.#folder = folder;
    const stream = {
      write: (line: string) => void this.said.push(pino.levels.labels[JSON.parse(line).level] ?? ""),
    };
    this.descriptors = new Descriptors({ percent: 90, clock: systemClock, logger: pino({}, stream), folder });
  }

  async allow(limit: string): Promise<void> {
    const table = [
      "Limit                     Soft Limit           Hard Limit           Units",
      `Max open files            ${limit.padEnd(20)} 1048576              files`,
    ];
    await writeFile(join(this.#folder, "limits"), table.join("\n"));
  }

  /** As many and no others. */
  async open(count: number): Promise<void> {
    const folder = join(this.#folder, "fd");
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    for (let fd = 0; fd < count; fd++) await writeFile(join(folder, String(fd)), "");
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
    await this.descriptors.round.close();
  }
}

function takenOf(share: { take(): boolean }, tries: number): number {
  return Array.from({ length: tries }, () => share.take()).filter(Boolean).length;
}
