import { openSession } from "../infra/database/open-session.ts";
import { sql } from "../infra/database/sql.ts";
import { CliError, exitCodes } from "./failure.ts";
import { countText } from "./format.ts";
import { type LocalDatabaseOptions, withLocalDatabase } from "./local-database.ts";
import type { Cli } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

/** What the `recount` command is given. */
export type RecountOptions = LocalDatabaseOptions & { readonly json?: boolean; readonly repair?: boolean };

/**
 * Counts the devices of all rollouts again and prints the counters that differ from what is stored; fails with
 * `precondition` if there are any, unless they are to be repaired.
 */
export async function recount(cli: Cli, options: RecountOptions): Promise<void> {
  await withLocalDatabase(cli, options, async ({ serviceUrl }) => {
    await using session = await openSession(serviceUrl);
    const rows = await session.query<WrongCounter>(recountSql);
    if (options.json === true) cli.terminal.out(JSON.stringify({ wrong: rows }));
    else if (rows.length === 0) cli.terminal.out("Every counter is what its devices add up to.");
    else cli.terminal.out(renderTable(cli.terminal, columns, rows));
    if (rows.length === 0) return;
    const wrong = countText(rows.length, "wrong counter");
    if (options.repair !== true)
      throw new CliError(exitCodes.precondition, `${wrong}; --repair sets them right`);
    await session.run(repairSql);
    if (options.json !== true) cli.terminal.out(`Set ${wrong} right.`);
  });
}

const recountSql = sql`SELECT * FROM rollout_recount()`;
const repairSql = sql`SELECT rollout_repair()`;

/** A row of `rollout_recount()`. */
interface WrongCounter {
  readonly rollout_id: string;
  readonly ring_id: string | null;
  readonly enrolment_key_id: string | null;
  readonly counter: string;
  readonly stored: string;
  readonly counted: string;
}

const columns: readonly Column<WrongCounter>[] = [
  { title: "rollout", text: (wrong) => wrong.rollout_id },
  { title: "ring", text: (wrong) => wrong.ring_id ?? "" },
  { title: "enrolment key", text: (wrong) => wrong.enrolment_key_id ?? "" },
  { title: "counter", text: (wrong) => wrong.counter },
  { title: "stored", text: (wrong) => wrong.stored, align: "right" },
  { title: "counted", text: (wrong) => wrong.counted, align: "right" },
];
