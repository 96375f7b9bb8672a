/**
 * A process that migrates a database, as a replica does when it starts. Prints the names of the migrations that it ran.
 *
 * usage: node migrate-service.ts URL
 */
import { migrateUp } from "../../src/infra/database/migrate.ts";

const [url = ""] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await migrateUp(url)));
