import { connectionsOfReplica } from "../infra/database/connection-settings.ts";
import { migrationRight, pendingMigrations } from "../infra/database/migrate.ts";
import { openSession } from "../infra/database/open-session.ts";
import { requireServerVersion } from "../infra/database/server-version.ts";
import { type DatabaseUrls, missingPrivileges } from "../infra/database/service-role.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { type Finding, reasonOf } from "./finding.ts";

/** Looks at the database as the roles that the service has. Writes a record into the log of the server, and no row. */
export async function databaseFindings(urls: DatabaseUrls): Promise<Finding[]> {
  const findings: Finding[] = [];
  try {
    await using session = await openSession(urls.serviceUrl);
    await requireServerVersion(session);
    findings.push(await reached(session), await clock(session), await connections(session));
    findings.push(...(await durability(session)), await schema(session, urls), await writes(session));
  } catch (error) {
    findings.push({
      subject: "database",
      verdict: "fault",
      message: reasonOf(error),
      remedy:
        "see to it that the server of DEVICE_OTA_DATABASE_URL runs, can be reached, and lets this role in",
    });
  }
  return findings;
}

async function reached(session: Session): Promise<Finding> {
  const [server] = await session.query<{ version: string; role: string }>(serverSql);
  return {
    subject: "database",
    verdict: "ok",
    message: `PostgreSQL ${server?.version}, as the role ${server?.role}`,
  };
}

/** All replicas go by the database's clock; this machine's own is in its log and its certificates' validity. */
async function clock(session: Session): Promise<Finding> {
  const before = Date.now();
  const [answer] = await session.query<{ now: Date }>(clockSql);
  const after = Date.now();
  const now = answer?.now.getTime() ?? Number.NaN;
  // The answer is of some moment in between.
  const aheadMs = before > now ? before - now : after < now ? after - now : 0;
  const seconds = Math.abs(aheadMs / 1_000).toFixed(1);
  if (Math.abs(aheadMs) < clockToleranceMs)
    return { subject: "clock", verdict: "ok", message: "this machine and the database agree" };
  return {
    subject: "clock",
    verdict: "warning",
    message: `this machine's clock is ${seconds} s ${aheadMs > 0 ? "ahead of" : "behind"} the database's`,
    remedy: "keep both right by NTP (chrony, systemd-timesyncd); the database's is the one that counts",
  };
}

async function connections(session: Session): Promise<Finding> {
  const [count] = await session.query<{ most: number; used: number }>(connectionsSql);
  const { most = 0, used = 0 } = count ?? {};
  const message = `${used} of ${most} connections are in use`;
  if (most - used >= connectionsOfReplica) return { subject: "connections", verdict: "ok", message };
  return {
    subject: "connections",
    verdict: "warning",
    message,
    remedy: `a replica holds up to ${connectionsOfReplica}: raise max_connections, or end what else is connected`,
  };
}

async function durability(session: Session): Promise<Finding[]> {
  const off = await session.query<{ name: string }>(durabilitySql);
  return off.map(({ name }) => ({
    subject: "durability",
    verdict: "warning",
    message: `${name} is off: what was acknowledged can be lost when the server's machine fails`,
    remedy: `set ${name} = on in postgresql.conf`,
  }));
}

async function schema(session: Session, { ownerUrl, serviceUrl }: DatabaseUrls): Promise<Finding> {
  const pending = await pendingMigrations(session);
  if (pending.length === 0) return { subject: "schema", verdict: "ok", message: "up to date" };
  const message = `${pending.length} migrations are still to be run`;
  await using owner = await openSession(ownerUrl);
  const { isGranted, role } = await migrationRight(owner);
  if (isGranted) return { subject: "schema", verdict: "ok", message: `${message}: the next start runs them` };
  return {
    subject: "schema",
    verdict: "fault",
    message: `${message}, and the role ${role} may not`,
    remedy:
      ownerUrl === serviceUrl
        ? "set DEVICE_OTA_MIGRATION_DATABASE_URL to the role that owns the tables, and run `device-ota migrate up`"
        : "grant that role CREATE on the schema, or make it the owner of the database",
  };
}

/** Whether a commit reaches the server's disk, and the role may write the tables. */
async function writes(session: Session): Promise<Finding> {
  const [state] = await session.query<{ standby: boolean; readonly: boolean }>(writableSql);
  const remedy = "point DEVICE_OTA_DATABASE_URL at the primary that takes writes";
  if (state?.standby === true)
    return { subject: "writes", verdict: "fault", message: "the server is a standby: it only reads", remedy };
  if (state?.readonly === true) {
    return {
      subject: "writes",
      verdict: "fault",
      message: "transactions only read here (default_transaction_read_only)",
      remedy: "set default_transaction_read_only = off for the server, the database and the role",
    };
  }
  const missing = await missingPrivileges(session);
  if (missing.length > 0) {
    return {
      subject: "writes",
      verdict: "fault",
      message: `the role lacks ${missing.slice(0, missingShown).join(", ")}`,
      remedy:
        "run `device-ota migrate up` with DEVICE_OTA_MIGRATION_DATABASE_URL, which grants what is needed",
    };
  }
  try {
    await session.query(emitSql);
    return { subject: "writes", verdict: "ok", message: "a record was committed" };
  } catch (error) {
    return {
      subject: "writes",
      verdict: "fault",
      message: `nothing can be written: ${reasonOf(error)}`,
      remedy: "look at the server's log and at the room on its disk",
    };
  }
}

const clockToleranceMs = 1_000;

const missingShown = 5;

const serverSql = sql`SELECT current_setting('server_version') AS version, current_user::text AS role`;
const clockSql = sql`SELECT clock_timestamp() AS now`;
const connectionsSql = sql`
  SELECT current_setting('max_connections')::int AS most, count(*)::int AS used
    FROM pg_stat_activity WHERE backend_type = 'client backend'`;
const durabilitySql = sql`
  SELECT name FROM pg_settings
   WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off' ORDER BY name`;
const writableSql = sql`
  SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS readonly`;

/** A record of the write-ahead log that nobody reads, committed like any other. */
const emitSql = sql`SELECT pg_logical_emit_message(true, 'device-ota', 'doctor')`;
