import type { Command } from "commander";
import type { MigrateOptions } from "./migrate.ts";
import type { RecountOptions } from "./recount.ts";
import type { Cli } from "./session.ts";

const databaseHelp =
  "\nThe database is the one that `serve` would use: DEVICE_OTA_DATABASE_URL, or the embedded PostgreSQL in the data folder.\n" +
  "With DEVICE_OTA_MIGRATION_DATABASE_URL migrations run as its role, and `up` grants that of DEVICE_OTA_DATABASE_URL what it needs.";

/** `migrate …`: the database's schema. `serve` migrates up by itself; these are for operators who want to decide when. */
export function addMigrateCommands(program: Command, cli: Cli): void {
  const migrate = program
    .command("migrate")
    .description("Show or change the database's schema (`serve` brings it up to date by itself)")
    .addHelpText("after", databaseHelp);
  migrate
    .command("status")
    .description("Say which migrations are still to be run; exit code 5 if there are any")
    .action(async (_options: object, command: Command) => {
      const { showMigrations } = await import("./migrate.ts");
      await showMigrations(cli, command.optsWithGlobals<MigrateOptions>());
    });
  migrate
    .command("up")
    .description("Run the migrations that are still to be run")
    .action(async (_options: object, command: Command) => {
      const { runMigrations } = await import("./migrate.ts");
      await runMigrations(cli, command.optsWithGlobals<MigrateOptions>());
    });
  migrate
    .command("down")
    .description("Take the last migration back; what its tables held is lost")
    .option("--all", "take every migration back")
    .requiredOption("--yes", "confirms that data may be lost")
    .action(async (options: { all?: boolean }, command: Command) => {
      const { undoMigrations } = await import("./migrate.ts");
      await undoMigrations(cli, command.optsWithGlobals<MigrateOptions>(), options.all === true);
    });
}

/** `recount`: whether the counters of rollouts are what their devices add up to. */
export function addRecountCommand(program: Command, cli: Cli): void {
  program
    .command("recount")
    .description("Count the devices of all rollouts again; exit code 5 if a counter is wrong")
    .option("--repair", "set wrong counters right")
    .addHelpText("after", databaseHelp)
    .action(async (_options: object, command: Command) => {
      const { recount } = await import("./recount.ts");
      await recount(cli, command.optsWithGlobals<RecountOptions>());
    });
}
