import type { Session } from "./session.ts";
import { sql } from "./sql.ts";

/** The oldest major version of PostgreSQL that has all that the service's SQL uses: `any_value` came with 16. */
const leastPostgresVersion = 16;

/** Throws, in words for whoever starts the service, if the server is older than {@link leastPostgresVersion}. */
export async function requireServerVersion(session: Session): Promise<void> {
  const [server] = await session.query<{ number: number; text: string }>(versionSql);
  if (server !== undefined && server.number >= leastPostgresVersion * versionsEach) return;
  throw new Error(
    `the database is PostgreSQL ${server?.text}, and the service needs ${leastPostgresVersion} or newer: upgrade the ` +
      "server, or leave DEVICE_OTA_DATABASE_URL out to use the embedded PostgreSQL",
  );
}

/** As `server_version_num` counts since PostgreSQL 10: 160004 is 16.4. */
const versionsEach = 10_000;

const versionSql = sql`SELECT current_setting('server_version_num')::int AS number,
  current_setting('server_version') AS text`;
