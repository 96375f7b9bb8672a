import { objectStore } from "../assembly/object-store.ts";
import { openSession } from "../infra/database/open-session.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { findOrphans, isSuspicious, removeOrphans, type SweepParts } from "../orphans/orphan-sweep.ts";
import { CliError, exitCodes } from "./failure.ts";
import { bytesText, countText } from "./format.ts";
import { type LocalDatabaseOptions, localConfig, withLocalDatabase } from "./local-database.ts";
import type { Cli } from "./session.ts";

/** What `store orphans` is given. */
export type OrphansOptions = LocalDatabaseOptions & {
  readonly json?: boolean;
  readonly delete?: boolean;
  readonly force?: boolean;
};

/** Prints the contents that nothing names, and removes them if told to. */
export async function orphans(cli: Cli, options: OrphansOptions): Promise<void> {
  const config = localConfig(cli, options);
  await using store = await objectStore(config);
  await withLocalDatabase(cli, { ...options, besideService: true }, async ({ serviceUrl }) => {
    await using session = await openSession(serviceUrl);
    const [clock] = await session.query<{ now: Date }>(nowSql);
    const now = clock?.now ?? new Date();
    const parts: SweepParts = {
      store,
      now: () => now,
      graceMs: config.outages.orphans.graceMs,
      database: { session, transact: (work) => transact(session, work) },
    };
    const count = await findOrphans(parts, cli.signal);
    const { contents, strangers } = count;
    const bytes = count.orphans.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (options.delete === true && options.force !== true && isSuspicious(count)) {
      throw new CliError(
        exitCodes.precondition,
        `${count.orphans.length} of ${contents} contents are named by nothing in this database; nothing was removed`,
        "Is it the right database, and the bucket of this service alone? --force removes them all the same.",
      );
    }
    const removed = options.delete === true ? await removeOrphans(parts, count.orphans, cli.signal) : 0;
    if (options.json === true) {
      cli.terminal.out(JSON.stringify({ contents, strangers, bytes, orphans: count.orphans, removed }));
      return;
    }
    for (const { sha256, sizeBytes, modifiedAt } of count.orphans)
      cli.terminal.out(`${sha256}  ${modifiedAt.toISOString()}  ${sizeBytes}`);
    const found = `${countText(contents, "content")}, ${countText(count.orphans.length, "orphan")} of ${bytesText(bytes)}`;
    cli.terminal.note(`${found}, ${countText(strangers, "object")} of others. Removed: ${removed}.`);
  });
}

async function transact<T>(session: Session, work: (session: Session) => Promise<T>): Promise<T> {
  await session.run(beginSql);
  try {
    const result = await work(session);
    await session.run(commitSql);
    return result;
  } catch (error) {
    await session.run(rollbackSql);
    throw error;
  }
}

const nowSql = sql`SELECT now() AS now`;
const beginSql = sql`BEGIN`;
const commitSql = sql`COMMIT`;
const rollbackSql = sql`ROLLBACK`;
