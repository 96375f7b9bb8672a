import { migrateDown, migrateUp, pendingMigrations } from "../infra/database/migrate.ts";
import { openSession } from "../infra/database/open-session.ts";
import { CliError, exitCodes } from "./failure.ts";
import { countText } from "./format.ts";
import { type LocalDatabaseOptions, withLocalDatabase } from "./local-database.ts";
import type { Cli } from "./session.ts";

/** What the `migrate` commands share. */
export type MigrateOptions = LocalDatabaseOptions & { readonly json?: boolean };

/** Prints the migrations that are still to be run; fails with `precondition` if there are any. */
export async function showMigrations(cli: Cli, options: MigrateOptions): Promise<void> {
  const say = saying(cli, options.json);
  await withLocalDatabase(cli, options, async ({ ownerUrl }) => {
    await using session = await openSession(ownerUrl);
    const pending = await pendingMigrations(session);
    say("pending", pending);
    if (pending.length > 0) {
      throw new CliError(exitCodes.precondition, `${countText(pending.length, "migration")} to be run`);
    }
  });
}

/** Brings the schema up to date. */
export async function runMigrations(cli: Cli, options: MigrateOptions): Promise<void> {
  const say = saying(cli, options.json);
  await withLocalDatabase(cli, options, async ({ ownerUrl, serviceUrl }) =>
    say("ran", await migrateUp(ownerUrl, { signal: cli.signal, serviceUrl })),
  );
}

/** Takes the last migration back, or all. */
export async function undoMigrations(cli: Cli, options: MigrateOptions, all: boolean): Promise<void> {
  const say = saying(cli, options.json);
  await withLocalDatabase(cli, options, async ({ ownerUrl }) => {
    say("rolled back", await migrateDown(ownerUrl, { signal: cli.signal, to: all ? "nothing" : "previous" }));
  });
}

type Say = (verb: string, names: readonly string[]) => void;

function saying(cli: Cli, json: boolean | undefined): Say {
  return (verb, names) => {
    if (json === true) cli.terminal.out(JSON.stringify({ [verb.replaceAll(" ", "_")]: names }));
    else
      cli.terminal.out(
        names.length === 0 ? "The schema is as it should be: nothing to do." : `${verb}: ${names.join(", ")}`,
      );
  };
}
