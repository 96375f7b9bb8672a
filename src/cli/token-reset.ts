import { administratorEntities, makeAdministrator } from "../access/administrator-reset.ts";
import { Database } from "../infra/database/database.ts";
import { createLogger } from "../infra/logger.ts";
import { adminTokenFile, saveAdminToken } from "./admin-token-file.ts";
import { CliError, exitCodes } from "./failure.ts";
import { type LocalDatabaseOptions, withLocalDatabase } from "./local-database.ts";
import type { Cli } from "./session.ts";

/** What the `token reset` command is given. */
export type TokenResetOptions = LocalDatabaseOptions & { readonly json?: boolean };

/** Makes an administrator's token in the database itself, and leaves it where the command line looks for it. */
export async function resetToken(cli: Cli, options: TokenResetOptions): Promise<void> {
  await withLocalDatabase(cli, options, async ({ serviceUrl: url }) => {
    const logger = createLogger({ level: "error", pretty: false, destination: process.stderr });
    await using database = await Database.connect({ url, logger, entities: administratorEntities });
    if ((await database.pendingMigrations()).length > 0)
      throw new CliError(
        exitCodes.precondition,
        "the database's schema is older than this command: start the service, or run `device-ota migrate up`, first",
      );
    await makeAdministrator(database, new Date(), async (secret) => {
      await saveAdminToken(options.dataDir, secret);
      const file = adminTokenFile(options.dataDir);
      if (options.json === true) cli.terminal.out(JSON.stringify({ secret, file }));
      else
        cli.terminal.out(
          `admin token     ${secret}\n                (also in ${file}, for this command line)`,
        );
    });
  });
}
