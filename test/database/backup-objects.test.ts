import { createHash, randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import pg from "pg";
import { expect, it } from "vitest";
import { backUp } from "../../src/backup/backup.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import type { ObjectStore } from "../../src/infra/objects/object-store.ts";
import { createTestDatabase } from "../support/postgres.ts";

it("goes on without an object that is deleted just before it is read, and names it", async () => {
  await using cleanup = new AsyncDisposableStack();
  const home = await mkdtemp(join(tmpdir(), "device-ota-backup-"));
  cleanup.defer(() => rm(home, { recursive: true }));
  const database = cleanup.use(await createTestDatabase());
  const store = cleanup.use(new LocalObjectStore(join(home, "store"), systemClock));
  const [kept, deleted] = [randomBytes(300_000), randomBytes(1_000)];
  for (const content of [kept, deleted]) {
    await store.put(Readable.from([content]), { maxBytes: content.length });
    await nameSymbolFile(database.url, digestOf(content));
  }
  // The service deletes it between any two calls of the backup.
  const losing = new Proxy<ObjectStore>(store, {
    get(target, name) {
      if (name !== "read") return Reflect.get(target, name, target)?.bind(target);
      return async (...args: Parameters<ObjectStore["read"]>) => {
        if (args[0] === digestOf(deleted)) await target.delete(args[0]);
        return target.read(...args);
      };
    },
  });

  const folder = join(home, "backup");
  const { manifest, gone } = await backUp({
    ownerUrl: database.url,
    store: losing,
    folder,
    serviceVersion: "1.2.3",
    signal: new AbortController().signal,
  });
  expect(gone).toEqual([digestOf(deleted)]);
  expect(manifest.objects).toEqual([{ sha256: digestOf(kept), sizeBytes: kept.length }]);
  expect(digestOf(await readFile(join(folder, "objects", digestOf(kept))))).toBe(digestOf(kept));
});

async function nameSymbolFile(url: string, objectSha256: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(
      `INSERT INTO symbol_files (id, build_id, sha256, file_name, size_bytes, function_count, object_sha256, created_by, created_at)
       VALUES ($1, 'b', $2, 'f', 1, 1, $3, 'operator:x', now())`,
      [randomUUID(), randomBytes(32).toString("hex"), objectSha256],
    );
  } finally {
    await client.end();
  }
}

function digestOf(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
