import type { Command } from "commander";
import type { BackupOptions, MoveOptions, RestoreOptions } from "./backup.ts";
import type { Cli } from "./session.ts";

const placesHelp = `
Database and store are those that \`serve\` would use: DEVICE_OTA_DATABASE_URL and DEVICE_OTA_STORAGE_TYPE, or else what is in the
data folder.`;

/** `backup`, `restore` and `move-database`: what the service knows, in another place. */
export function addBackupCommands(program: Command, cli: Cli): void {
  program
    .command("backup")
    .argument("<folder>", "the new folder")
    .description("Write the database as it is at this moment, and the stored contents, into a new folder")
    .option("--without-objects", "leave the contents out: the store is backed up by other means")
    .addHelpText(
      "after",
      `${placesHelp} The service may run meanwhile. The folder holds the service's secrets: keep it to yourself.`,
    )
    .action(async (folder: string, _options: object, command: Command) => {
      const { backup } = await import("./backup.ts");
      await backup(cli, folder, command.optsWithGlobals<BackupOptions>());
    });
  program
    .command("restore")
    .argument("<folder>", "the backup")
    .description("Fill an empty database and the store from a backup")
    .option("--verify-only", "read the backup and say whether it is whole; change nothing")
    .addHelpText("after", `${placesHelp} No service may run on them. If anything is wrong no row is left.`)
    .action(async (folder: string, _options: object, command: Command) => {
      const { restoreBackup } = await import("./backup.ts");
      await restoreBackup(cli, folder, command.optsWithGlobals<RestoreOptions>());
    });
  program
    .command("move-database")
    .description("Copy the embedded database into an empty one on a PostgreSQL of your own")
    .requiredOption("--to <url>", "the new database, as the role that shall own its tables")
    .option("--to-service <url>", "the same database as the role that the service shall work as")
    .addHelpText(
      "after",
      "\nStop the service first, and start it with DEVICE_OTA_DATABASE_URL afterwards. The source stays as it is.",
    )
    .action(async (_options: object, command: Command) => {
      const { move } = await import("./backup.ts");
      await move(cli, command.optsWithGlobals<MoveOptions>());
    });
}
