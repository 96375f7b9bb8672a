import { createHash } from "node:crypto";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Database } from "../../src/infra/database/database.ts";
import {
  IdempotencyKeys,
  type RequestKey,
  type RequestOutcome,
} from "../../src/infra/database/idempotency-keys.ts";
import { requestDigest } from "../../src/infra/database/request-digest.ts";
import { RequestIdEntity } from "../../src/infra/database/request-id.entity.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { connect } from "./support.ts";

const idempotency = new IdempotencyKeys();
let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await connect(testDatabase.url);
});

afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

describe("idempotency keys", () => {
  it("answers a repeated request with what the first one made", async () => {
    const key = request();
    expect(await create(key, "first")).toEqual({ resourceId: "first", repeated: false });
    expect(await create(key, "second")).toEqual({ resourceId: "first", repeated: true });
  });

  it("creates once when two equal requests come at the same time", async () => {
    const key = request();
    const firstCreates = Promise.withResolvers<void>();
    const firstMayGoOn = Promise.withResolvers<void>();
    const first = once(key, async () => {
      firstCreates.resolve();
      await firstMayGoOn.promise;
      return "first";
    });
    await firstCreates.promise;
    const second = create(key, "second");
    await expect
      .poll(async () => {
        const { rows } = await database.adminPool.query(
          "SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())",
        );
        return rows.length;
      })
      .toBe(1);
    firstMayGoOn.resolve();
    expect(await first).toEqual({ resourceId: "first", repeated: false });
    expect(await second).toEqual({ resourceId: "first", repeated: true });
  });

  it("lets the next request create if the first one's transaction failed", async () => {
    const key = request();
    await expect(once(key, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await create(key, "second")).toEqual({ resourceId: "second", repeated: false });
  });

  it("refuses an id that came with another request", async () => {
    const key = request();
    await create(key, "first");
    await expect(create({ ...key, requestDigest: digest("other") }, "second")).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "REQUEST_ID_REUSED",
    });
  });

  it("answers a request that an earlier release took, whose digest says nothing now", async () => {
    const key = request();
    const earlier = createHash("sha256").update("body").digest();
    await create({ ...key, requestDigest: earlier }, "first");
    expect(await create(key, "second")).toEqual({ resourceId: "first", repeated: true });
  });

  it("keeps callers and methods apart", async () => {
    const key = request();
    await create(key, "first");
    expect(await create({ ...key, caller: "operator:other" }, "second")).toMatchObject({ repeated: false });
    expect(await create({ ...key, method: "other" }, "third")).toMatchObject({ repeated: false });
  });

  it("remembers nothing of a request without an id", async () => {
    const key = { ...request(), requestId: undefined };
    expect(await create(key, "first")).toEqual({ resourceId: "first", repeated: false });
    expect(await create(key, "second")).toEqual({ resourceId: "second", repeated: false });
  });

  it("forgets after 24 hours, purged or not", async () => {
    const old = request();
    const older = request();
    const young = request();
    for (const key of [old, older, young]) await create(key, "first");
    await age(old, "24 hours 1 second");
    await age(older, "24 hours 1 second");
    await age(young, "23 hours");

    expect(await create(old, "second")).toEqual({ resourceId: "second", repeated: false });
    expect(await idempotency.purge(database.pool)).toBe(1);
    expect(await find(older)).toBe(0);
    expect(await find(young)).toBe(1);
  });

  it("refuses to work outside a transaction", async () => {
    await expect(idempotency.once(database.em(), request(), async () => "never")).rejects.toThrow(
      "transaction",
    );
  });
});

function request(): RequestKey {
  return {
    caller: "operator:test",
    method: "ota.v1.Test/Create",
    requestId: v7(),
    requestDigest: digest("body"),
  };
}

function digest(text: string): Uint8Array {
  return requestDigest({ text });
}

function create(key: RequestKey, resourceId: string): Promise<RequestOutcome> {
  return once(key, async () => resourceId);
}

function once(key: RequestKey, make: () => Promise<string>): Promise<RequestOutcome> {
  return database.em().transactional((em) => idempotency.once(em, key, make));
}

async function age(key: RequestKey, interval: string): Promise<void> {
  await database.adminPool.query(
    "UPDATE request_ids SET created_at = now() - $1::interval WHERE request_id = $2",
    [interval, key.requestId],
  );
}

function find(key: RequestKey): Promise<number> {
  return database.em().count(RequestIdEntity, { requestId: key.requestId ?? "" });
}
