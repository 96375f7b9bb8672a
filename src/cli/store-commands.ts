import type { Command } from "commander";
import type { Cli } from "./session.ts";
import type { OrphansOptions } from "./store.ts";

/** `store`: what is in the object store. */
export function addStoreCommands(program: Command, cli: Cli): void {
  program
    .command("store")
    .description("Look after the object store")
    .command("orphans")
    .description("List the stored contents that nothing in the database names, and remove them if told to")
    .option("--delete", "remove them")
    .option("--force", "also if they are most of the store")
    .addHelpText("after", orphansHelp)
    .action(async (_options: object, command: Command) => {
      const { orphans } = await import("./store.ts");
      await orphans(cli, command.optsWithGlobals<OrphansOptions>());
    });
}

const orphansHelp = `
Database and store are those that \`serve\` would use: DEVICE_OTA_DATABASE_URL and DEVICE_OTA_STORAGE_TYPE, or else what is in the data
folder; the service may run meanwhile. Only what is older than DEVICE_OTA_ORPHAN_GRACE_HOURS counts. Never remove anything from a bucket
that another service uses too: it could be that service's.`;
