import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import { entities } from "../../src/entities.ts";
import { Database } from "../../src/infra/database/database.ts";
import { createLogger, type Logger } from "../../src/infra/logger.ts";
import { execute, withDatabase } from "../support/global-setup.ts";
import type { TestDatabase } from "../support/postgres.ts";

const silent: Logger = createLogger({ level: "silent", pretty: false });

/** A database on the run's shared server in which no migration has run. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  const serverUrl = inject("databaseUrl");
  const name = `empty_${randomBytes(8).toString("hex")}`;
  await execute(serverUrl, `CREATE DATABASE ${name}`);
  return {
    url: withDatabase(serverUrl, name),
    [Symbol.asyncDispose]: () => execute(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

export function connect(url: string, logger = silent): Promise<Database> {
  return Database.connect({ url, logger, entities });
}

/** Listens to a channel and keeps what it hears. */
export function recordChannel(database: Database, channel: string) {
  const record = { listening: 0, payloads: [] as string[], stop: (): void => undefined };
  record.stop = database.listen(channel, {
    listening: () => {
      record.listening += 1;
    },
    notified: (payload) => {
      record.payloads.push(payload);
    },
  });
  return record;
}
