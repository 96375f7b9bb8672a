import { Migrator } from "@mikro-orm/migrations";
import { MikroORM } from "@mikro-orm/postgresql";
import pg from "pg";
import type { Logger } from "../logger.ts";
import { lockNumber } from "./advisory-locks.ts";
import { connectionSettings } from "./connection-settings.ts";
import { asDatabaseError } from "./errors.ts";
import { InitialSchema } from "./migrations/m0001-initial-schema.ts";
import { DeviceInventory } from "./migrations/m0002-device-inventory.ts";
import { FleetState } from "./migrations/m0003-fleet-state.ts";
import { Telemetry } from "./migrations/m0004-telemetry.ts";
import { ErrorGroups } from "./migrations/m0005-error-groups.ts";
import { RolloutControl } from "./migrations/m0006-rollout-control.ts";
import { FirmwareKinds } from "./migrations/m0007-firmware-kinds.ts";
import { RolloutHealth } from "./migrations/m0008-rollout-health.ts";
import { RollupOrder } from "./migrations/m0009-rollup-order.ts";
import { VersionHistory } from "./migrations/m0010-version-history.ts";
import { WaitingRollbacks } from "./migrations/m0011-waiting-rollbacks.ts";
import { RolloutCounterTriggers } from "./migrations/m0012-rollout-counters.ts";
import { Words } from "./migrations/m0013-words.ts";
import { Versions } from "./migrations/m0014-versions.ts";
import { DeviceProducts } from "./migrations/m0015-device-products.ts";
import { MissingDevices } from "./migrations/m0016-missing-devices.ts";
import { Drift } from "./migrations/m0017-drift.ts";
import { Foresight } from "./migrations/m0018-foresight.ts";
import { ModelsRingsTries } from "./migrations/m0020-models-rings-tries.ts";
import { MetadataAndArchive } from "./migrations/m0021-metadata-and-archive.ts";
import { Grouping } from "./migrations/m0022-grouping.ts";
import { HeartbeatFaults } from "./migrations/m0023-heartbeat-faults.ts";
import { Recalls } from "./migrations/m0025-recalls.ts";
import { ExpectedIntervals } from "./migrations/m0026-expected-intervals.ts";
import { ClockVerdicts } from "./migrations/m0027-clock-verdicts.ts";
import { KeptFacts } from "./migrations/m0028-kept-facts.ts";
import { EnrolmentConsent } from "./migrations/m0030-enrolment-consent.ts";
import { SignInAndAudit } from "./migrations/m0031-sign-in-and-audit.ts";
import { SerialsAndClones } from "./migrations/m0032-serials-and-clones.ts";
import { RateReports } from "./migrations/m0033-rate-reports.ts";
import { DeviceCertificates } from "./migrations/m0034-device-certificates.ts";
import { OidcPeople } from "./migrations/m0035-oidc-people.ts";
import { TokenRights } from "./migrations/m0036-token-rights.ts";
import { FirmwareTrust } from "./migrations/m0037-firmware-trust.ts";
import { SeparateRoles } from "./migrations/m0038-separate-roles.ts";
import { AuditChain } from "./migrations/m0039-audit-chain.ts";
import { DeviceKeys } from "./migrations/m0040-device-keys.ts";
import { TufRepositories } from "./migrations/m0041-tuf-repositories.ts";
import { Soundness } from "./migrations/m0042-soundness.ts";
import { AlertsAndEvents } from "./migrations/m0043-alerts-and-events.ts";
import { Webhooks } from "./migrations/m0044-webhooks.ts";
import { WantedTokenRotation } from "./migrations/m0046-token-rotation.ts";
import { WebhookMails } from "./migrations/m0048-webhook-mails.ts";
import { CrashLogObjects } from "./migrations/m0049-crash-log-objects.ts";
import { EndedDeliveries } from "./migrations/m0050-ended-deliveries.ts";
import { requireServerVersion } from "./server-version.ts";
import { grantService, roleOf } from "./service-role.ts";
import { type ReadSession, type Session, sessionOn } from "./session.ts";
import { sql } from "./sql.ts";

/** How to migrate. */
export interface MigrateOptions {
  /** Told about each migration. */
  readonly logger?: Logger;
  /** Gives up the wait for another process that migrates; a migration that has begun is finished. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Brings the database up to date, or with `exactly` to the schema that these migrations make; returns the names of the migrations that it ran. `url` names the role that owns the schema;
 * that of `serviceUrl`, if it is another one, is granted what the service needs. Of several processes that start at
 * once one migrates and the others wait, at most {@link lockWaitMs}. All or nothing: the migrations are one transaction.
 * Throws with words if the server is older than the service's SQL.
 */
export async function migrateUp(
  url: string,
  options: MigrateOptions & { readonly serviceUrl?: string; readonly exactly?: readonly string[] } = {},
): Promise<string[]> {
  return underLock(url, options, async (session) => {
    if (options.exactly !== undefined) await requireWithin(session, options.exactly);
    const ran = await runPending(session, url, options);
    if (options.serviceUrl !== undefined) await grantService(session, roleOf(options.serviceUrl));
    return ran;
  });
}

async function runPending(
  session: Session,
  url: string,
  options: MigrateOptions & { readonly exactly?: readonly string[] },
): Promise<string[]> {
  const { exactly } = options;
  // A role that may not change the schema is one to work as, as long as there is nothing to change.
  const pending = (await pendingMigrations(session)).filter((name) => exactly?.includes(name) ?? true);
  if (pending.length === 0) return [];
  const { isGranted, role } = await migrationRight(session);
  if (!isGranted) {
    throw new Error(
      `the database needs ${pending.length} migrations, and the role ${role} may not run them: set ` +
        "DEVICE_OTA_MIGRATION_DATABASE_URL to the same database as the role that owns its tables",
    );
  }
  return await withMigrator(url, options, async (migrator) =>
    (await migrator.up({ migrations: pending })).map(({ name }) => name),
  );
}

/** Throws with words unless `names` are all known, and the database has no others. */
async function requireWithin(session: Session, names: readonly string[]): Promise<void> {
  const known = new Set(migrations.map(({ name }) => name));
  const newer = names.find((name) => !known.has(name));
  if (newer !== undefined)
    throw new Error(`the data has the migration ${newer}, which this version does not know: use a newer one`);
  const more = (await doneMigrations(session)).find((name) => !names.includes(name));
  if (more !== undefined)
    throw new Error(`the database has the migration ${more}, which the data has not: name an empty database`);
}

/**
 * Takes migrations back, the latest only or, with `to: "nothing"`, all of them; returns their names. What the tables
 * held is lost.
 */
export async function migrateDown(
  url: string,
  options: MigrateOptions & { readonly to?: "previous" | "nothing" } = {},
): Promise<string[]> {
  return underLock(url, options, () =>
    withMigrator(url, options, async (migrator) => {
      const undone = await migrator.down(options.to === "nothing" ? { to: 0 } : {});
      return undone.map(({ name }) => name);
    }),
  );
}

/** The names of the migrations that the database still needs, oldest first. Changes nothing, not even an empty database. */
export async function pendingMigrations(session: Session): Promise<string[]> {
  const done = new Set(await doneMigrations(session));
  return migrations.map(({ name }) => name).filter((name) => !done.has(name));
}

/** Whether the session's role may run migrations, and what it is called. */
export async function migrationRight(session: Session): Promise<{ isGranted: boolean; role: string }> {
  const [right] = await session.query<{ granted: boolean; role: string }>(mayMigrateSql);
  return { isGranted: right?.granted === true, role: right?.role ?? "" };
}

/** The names of the migrations that the database has run; none of an empty one. */
export async function doneMigrations(session: ReadSession): Promise<string[]> {
  const [table] = await session.query<{ made: boolean }>(migratedSql);
  if (table?.made !== true) return [];
  return (await session.query<{ name: string }>(doneSql)).map(({ name }) => name);
}

/**
 * Every migration, oldest first, listed by hand. A merged one is never edited: databases have run it. For a new one the
 * test of the migrations prints the SQL that the entities miss.
 */
const migrations = [
  { name: "0001-initial-schema", class: InitialSchema },
  { name: "0002-device-inventory", class: DeviceInventory },
  { name: "0003-fleet-state", class: FleetState },
  { name: "0004-telemetry", class: Telemetry },
  { name: "0005-error-groups", class: ErrorGroups },
  { name: "0006-rollout-control", class: RolloutControl },
  { name: "0007-firmware-kinds", class: FirmwareKinds },
  { name: "0008-rollout-health", class: RolloutHealth },
  { name: "0009-rollup-order", class: RollupOrder },
  { name: "0010-version-history", class: VersionHistory },
  { name: "0011-waiting-rollbacks", class: WaitingRollbacks },
  { name: "0012-rollout-counters", class: RolloutCounterTriggers },
  { name: "0013-words", class: Words },
  { name: "0014-versions", class: Versions },
  { name: "0015-device-products", class: DeviceProducts },
  { name: "0016-missing-devices", class: MissingDevices },
  { name: "0017-drift", class: Drift },
  { name: "0018-foresight", class: Foresight },
  { name: "0020-models-rings-tries", class: ModelsRingsTries },
  { name: "0021-metadata-and-archive", class: MetadataAndArchive },
  { name: "0022-grouping", class: Grouping },
  { name: "0023-heartbeat-faults", class: HeartbeatFaults },
  { name: "0025-recalls", class: Recalls },
  { name: "0026-expected-intervals", class: ExpectedIntervals },
  { name: "0027-clock-verdicts", class: ClockVerdicts },
  { name: "0028-kept-facts", class: KeptFacts },
  { name: "0030-enrolment-consent", class: EnrolmentConsent },
  { name: "0031-sign-in-and-audit", class: SignInAndAudit },
  { name: "0038-separate-roles", class: SeparateRoles },
  { name: "0034-device-certificates", class: DeviceCertificates },
  { name: "0036-token-rights", class: TokenRights },
  { name: "0035-oidc-people", class: OidcPeople },
  { name: "0039-audit-chain", class: AuditChain },
  { name: "0032-serials-and-clones", class: SerialsAndClones },
  { name: "0037-firmware-trust", class: FirmwareTrust },
  { name: "0042-soundness", class: Soundness },
  { name: "0040-device-keys", class: DeviceKeys },
  { name: "0033-rate-reports", class: RateReports },
  { name: "0041-tuf-repositories", class: TufRepositories },
  { name: "0043-alerts-and-events", class: AlertsAndEvents },
  { name: "0044-webhooks", class: Webhooks },
  { name: "0048-webhook-mails", class: WebhookMails },
  { name: "0049-crash-log-objects", class: CrashLogObjects },
  { name: "0046-token-rotation", class: WantedTokenRotation },
  { name: "0050-ended-deliveries", class: EndedDeliveries },
];

const migrationsTable = "mikro_orm_migrations";

const migratedSql = sql`SELECT to_regclass('mikro_orm_migrations') IS NOT NULL AS made`;
const doneSql = sql`SELECT name FROM mikro_orm_migrations ORDER BY id`;
const mayMigrateSql = sql`
  SELECT has_schema_privilege(current_schema()::text, 'CREATE') AS granted, current_user::text AS role`;
const waitSql = sql`SELECT pg_advisory_lock($1)`;

/** Longer than any migration may take. */
const lockWaitMs = 10 * 60_000;

async function underLock<T>(
  url: string,
  options: MigrateOptions,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  // A connection of its own: the lock belongs to the session and must outlive every transaction of the migrator.
  const lock = new pg.Client({
    ...connectionSettings(url, "migration lock"),
    statement_timeout: lockWaitMs,
    lock_timeout: 0,
    query_timeout: lockWaitMs,
  });
  lock.on("error", () => undefined);
  await lock.connect().catch((error: unknown) => {
    throw asDatabaseError(error) ?? error;
  });
  const giveUp = (): void => void lock.end().catch(() => undefined);
  options.signal?.addEventListener("abort", giveUp, { once: true });
  try {
    options.signal?.throwIfAborted();
    const session = sessionOn(lock);
    await requireServerVersion(session);
    await session.run(waitSql, [lockNumber("migrations")]);
    options.signal?.removeEventListener("abort", giveUp);
    return await work(session);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw asDatabaseError(error) ?? error;
  } finally {
    options.signal?.removeEventListener("abort", giveUp);
    await lock.end().catch(() => undefined);
  }
}

async function withMigrator<T>(
  url: string,
  options: MigrateOptions,
  work: (migrator: Migrator) => Promise<T>,
): Promise<T> {
  const orm = await MikroORM.init({
    entities: [],
    discovery: { warnWhenNoEntities: false },
    dbName: databaseName(url),
    // Statement time-outs are for traffic: a migration takes as long as it takes, but must not queue long for a lock.
    driverOptions: {
      ...connectionSettings(url, "migration"),
      max: 1,
      statement_timeout: 0,
      query_timeout: 0,
      idle_in_transaction_session_timeout: 0,
    },
    extensions: [Migrator],
    migrations: { migrationsList: migrations, tableName: migrationsTable, snapshot: false, silent: true },
  });
  try {
    const { migrator } = orm;
    const { logger } = options;
    migrator.on("migrated", ({ name }) => logger?.info({ migration: name }, "migrated the database"));
    migrator.on("reverted", ({ name }) => logger?.info({ migration: name }, "took a migration back"));
    return await work(migrator as Migrator);
  } finally {
    await orm.close(true);
  }
}

/** The database that a connection URL names, by the rules of pg, which also knows sockets and defaults. */
export function databaseName(url: string): string {
  return new pg.Client({ connectionString: url }).database ?? "";
}
