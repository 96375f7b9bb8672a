import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../infra/clock.ts";
import type { ReadSession } from "../../infra/database/session.ts";
import { LocalObjectStore } from "../../infra/objects/local-object-store.ts";
import type { ObjectStore } from "../../infra/objects/object-store.ts";
import { headBytes } from "./symbol-files.ts";
import { SymbolTables } from "./symbol-names.ts";

const elfFiles = join(import.meta.dirname, "../../../test/crash/symbols");
const buildId = "614eef2f214e4e0f9793d8a65a3f636734e807dc";

let folder: string;
let store: ObjectStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "symbol-names-"));
  store = new LocalObjectStore(folder, systemClock);
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** The name that is found for the place of a crash each time it is asked for, and how often the store was read. */
async function namesFrom(content: Buffer, faults: number, times: number) {
  const { sha256 } = await store.put(behindHead(content), { maxBytes: 1_000_000 });
  let failing = faults;
  let reads = 0;
  const shaky = Object.create(store, {
    read: {
      value: async (...args: Parameters<ObjectStore["read"]>) => {
        reads++;
        expect(isInTransaction).toBe(false);
        if (failing-- > 0) throw new Error("the store is away");
        return await store.read(...args);
      },
    },
  }) as ObjectStore;
  let isInTransaction = false;
  const session: ReadSession = {
    query: async <Row>() => [{ wanted: buildId, object_sha256: sha256 }] as Row[],
  };
  const tables = new SymbolTables({ store: shaky, logger: pino({ enabled: false }) });
  const names: (string | undefined)[] = [];
  for (let time = 0; time < times; time++) {
    const name = await tables.inTries(async (find) => {
      isInTransaction = true;
      try {
        return (await find(session, [buildId])).nameOf({ module: "agent", buildId, offset: 0x1f5n });
      } finally {
        isInTransaction = false;
      }
    });
    names.push(name);
  }
  return { names, reads };
}

async function* behindHead(content: Buffer) {
  yield Buffer.alloc(headBytes, "x");
  yield content;
}

it("finds the names again once a store that was away is back", async () => {
  const content = await readFile(join(elfFiles, "agent-1.elf"));
  expect((await namesFrom(content, 1, 2)).names).toEqual([undefined, "read_sensor"]);
});

it("reads a file that is no ELF file once", async () => {
  const content = Buffer.alloc(100, "x");
  expect(await namesFrom(content, 0, 3)).toEqual({ names: [undefined, undefined, undefined], reads: 1 });
});
