import { join, resolve } from "node:path";
import { alertSettings, alertsOf, webhooksOf } from "./alert-settings.ts";
import { emailOf, emailSettings } from "./email-settings.ts";
import { limitSettings, limitsOf } from "./limit-settings.ts";
import { isLoopback } from "./loopback.ts";
import { oidcOf, oidcSettings } from "./oidc-settings.ts";
import { outageSettings, outagesOf } from "./outage-settings.ts";
import { reportingSettings } from "./reporting-settings.ts";
import { readValues, type SettingValue, shownValues, unknownNames } from "./setting-values.ts";
import {
  choice,
  decimal,
  flag,
  integer,
  networks,
  origins,
  type SettingDoc,
  secret,
  textOr,
  url,
  type ValuesOf,
} from "./settings.ts";
import { storageOf, storageSettings } from "./storage-settings.ts";
import { tlsOf, tlsSettings } from "./tls-settings.ts";
import { tufOf, tufSettings } from "./tuf-settings.ts";

/** Everything that an operator can set, checked and with defaults filled in. Read once at start. */
export type Config = Readonly<ReturnType<typeof assemble>> & {
  /** All of them as text, for people to look at. */
  readonly settings: readonly SettingValue[];
};

/** The settings cannot be used; lists every fault, each with the name of its setting and without secrets. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(
      `The settings have ${faults.length === 1 ? "a fault" : "faults"}:\n${faults.map((f) => `  ${f}`).join("\n")}`,
    );
    this.faults = faults;
  }
}

/**
 * Reads the settings from environment variables. Throws a {@link ConfigError} with every fault at once; a name that
 * begins with `DEVICE_OTA_` and is no setting is a fault too, because it is a misspelt one.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const faults = unknownNames(settings, env);
  const values = readValues(table, env, faults);
  const config = values === undefined ? undefined : assemble(values, faults);
  if (faults.length > 0 || config === undefined) throw new ConfigError(faults);
  return { ...config, settings: shownValues(settings, env) };
}

const table = {
  databaseUrl: url(
    "DATABASE_URL",
    ["postgresql:", "postgres:"],
    "The PostgreSQL to use, version 16 or newer; without it the service runs a private one in the data folder.",
  ),
  migrationDatabaseUrl: url(
    "MIGRATION_DATABASE_URL",
    ["postgresql:", "postgres:"],
    "The same database as the role that owns the schema, for migrations alone; then `DEVICE_OTA_DATABASE_URL` names a role that only reads and writes rows.",
  ),
  dataDir: textOr("DATA_DIR", "./data", "The folder for everything that the service keeps on this machine."),
  host: textOr("HOST", "127.0.0.1", "The address to listen on; 0.0.0.0 for all."),
  allowPlaintext: flag(
    "ALLOW_PLAINTEXT",
    false,
    "Whether a port without TLS may listen beyond this machine: only where a proxy before it terminates TLS, or nobody else is on the network.",
  ),
  httpPort: integer(
    "HTTP_PORT",
    8080,
    [0, 65_535],
    "The port for REST, Connect, health and metrics; 0 takes a free one.",
  ),
  grpcPort: integer("GRPC_PORT", 50_051, [0, 65_535], "The port for gRPC; 0 takes a free one."),
  ...tlsSettings,
  ...storageSettings,
  failureThreshold: decimal(
    "AUTO_ROLLBACK_FAILURE_THRESHOLD",
    "10.0",
    [0, 100],
    "A rollout rolls back by itself when more than this percentage of the devices that began to install failed or are missing.",
  ),
  rollbackTimeoutHours: decimal(
    "ROLLBACK_TIMEOUT_HOURS",
    "6",
    [0.001, 8_760],
    "A device that has not proven its update after this many hours has failed.",
  ),
  ...outageSettings,
  ...limitSettings,
  ...alertSettings,
  ...emailSettings,
  adminToken: secret(
    "ADMIN_TOKEN",
    "The first administrator's token; by default one is made and shown once.",
  ),
  enrolmentKey: secret("ENROLMENT_KEY", "The first enrolment key; by default one is made and shown once."),
  enrolAgainHours: integer(
    "ENROL_AGAIN_HOURS",
    24,
    [1, 8_760],
    "How long a serial number may enrol once more after an operator reset its credential or reinstated it, in hours.",
  ),
  enrolmentRetryMinutes: integer(
    "ENROLMENT_RETRY_MINUTES",
    15,
    [1, 1_440],
    "How long a device whose answer got lost may repeat its enrolment, in minutes; after that an operator must reset it.",
  ),
  deviceTokenDays: integer(
    "DEVICE_TOKEN_DAYS",
    0,
    [0, 36_500],
    "How many days the token of a device works from when it was made; 0 for ever. Our agent exchanges one that is 30 days old, or whose time is half over: leave it that, for sleep and repairs as well.",
  ),
  deviceJwtAudience: textOr(
    "DEVICE_JWT_AUDIENCE",
    "device-ota",
    "What must stand in `aud` of the JWTs that devices sign; another one for each service that devices may come to with the same key.",
  ),
  deviceJwtMaxSeconds: integer(
    "DEVICE_JWT_MAX_SECONDS",
    600,
    [60, 3_600],
    "How long a JWT that a device signs may hold, from `iat` to `exp`, in seconds.",
  ),
  deviceJwtToleranceSeconds: integer(
    "DEVICE_JWT_TOLERANCE_SECONDS",
    60,
    [0, 300],
    "How far the clock of a device that signs JWTs may be off, in seconds.",
  ),
  ...oidcSettings,
  maxStandingChanges: integer(
    "MAX_STANDING_CHANGES",
    10_000,
    [1, 1_000_000],
    "The most devices that one call may block, unblock, put in quarantine, approve or have exchange their token.",
  ),
  cloneReturns: integer(
    "CLONE_RETURNS",
    3,
    [0, 100],
    "A device is suspected to have a clone when boots of it came back this often after another one was heard; 0 suspects nobody.",
  ),
  cloneWindowHours: integer("CLONE_WINDOW_HOURS", 24, [1, 720], "Within how many hours they must come back."),
  quarantineClones: flag(
    "QUARANTINE_CLONES",
    false,
    "Whether a device that is suspected to have a clone is put in quarantine, until an operator approves it.",
  ),
  logLevel: choice(
    "LOG_LEVEL",
    ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
    "info",
    "Lines below this level are dropped; `debug` has one line a call.",
  ),
  logFormat: choice(
    "LOG_FORMAT",
    ["auto", "json", "pretty"],
    "auto",
    "`json`, `pretty`, or `auto`: pretty on a terminal.",
  ),
  auditAnchorMinutes: integer(
    "AUDIT_ANCHOR_MINUTES",
    60,
    [1, 10_080],
    "How often the log is told what the audit log's hash chain has come to (`audit.anchor`), in minutes.",
  ),
  requireSignature: flag(
    "REQUIRE_SIGNATURE",
    true,
    "Whether only firmware with a valid signature may be deployed.",
  ),
  signatureThreshold: integer(
    "SIGNATURE_THRESHOLD",
    1,
    [1, 16],
    "How many keys must have signed a firmware.",
  ),
  acceptTestKeys: flag(
    "ACCEPT_TEST_KEYS",
    false,
    "Whether signing keys with the role test count like release keys: for a service with devices under test alone.",
  ),
  ...tufSettings,
  heartbeatInterval: integer(
    "HEARTBEAT_INTERVAL_SECONDS",
    60,
    [1, 86_400],
    "How often devices are asked to send a heartbeat, and expected where nothing else is said of them.",
  ),
  // Rows and bytes: together some 15 seconds of a fleet of 100,000 at a beat every 30 s, or half a minute of database outage
  // before the first stream is held back.
  heartbeatQueueRows: integer(
    "HEARTBEAT_QUEUE_ROWS",
    50_000,
    [100, 10_000_000],
    "The most heartbeats that wait to be written; a full queue holds the devices back.",
  ),
  heartbeatQueueBytes: integer(
    "HEARTBEAT_QUEUE_BYTES",
    64 * 1024 * 1024,
    [1024 * 1024, 8 * 1024 ** 3],
    "The same bound in bytes.",
  ),
  // Larger flushes gain little and block the event loop for longer: encoding takes about a microsecond a row.
  heartbeatFlushRows: integer(
    "HEARTBEAT_FLUSH_ROWS",
    5_000,
    [1, 50_000],
    "The most heartbeats in one transaction.",
  ),
  heartbeatFlushMs: integer(
    "HEARTBEAT_FLUSH_MS",
    25,
    [1, 10_000],
    "How long a heartbeat waits for others to share its transaction, in milliseconds.",
  ),
  heartbeatRetentionDays: integer(
    "HEARTBEAT_RETENTION_DAYS",
    30,
    [1, 3_650],
    "Heartbeats older than this many days are dropped.",
  ),
  rollup5mRetentionDays: integer(
    "ROLLUP_5M_RETENTION_DAYS",
    30,
    [1, 3_650],
    "Roll-ups of 5 minutes older than this many days are dropped.",
  ),
  rollup1hRetentionDays: integer(
    "ROLLUP_1H_RETENTION_DAYS",
    400,
    [1, 36_500],
    "Roll-ups of 1 hour, and the hourly counts of versions, older than this many days are dropped.",
  ),
  drainSeconds: integer(
    "DRAIN_SECONDS",
    20,
    [0, 3_600],
    "How long open calls may take to finish when the service stops.",
  ),
  corsOrigins: origins(
    "CORS_ORIGINS",
    "Web origins, separated by commas, whose pages may call the HTTP port; none by default.",
  ),
  ...reportingSettings,
  trustedProxies: networks(
    "TRUSTED_PROXIES",
    "Addresses and networks, separated by commas, of the proxies before the service: only what they say in `x-forwarded-for` names a caller.",
  ),
};

/** The settings' documentation, in the order of the table in docs/settings.md. */
export const settings: readonly SettingDoc[] = Object.values(table);

type Values = ValuesOf<typeof table>;

/** What comes after each setting for itself: settings that depend on one another. */
function assemble(values: Values, faults: string[]) {
  const dataDir = resolve(values.dataDir);
  if (values.httpPort !== 0 && values.httpPort === values.grpcPort) {
    faults.push(`${table.grpcPort.name}: must differ from ${table.httpPort.name}`);
  }
  refusePlaintext(values, faults);
  if (values.migrationDatabaseUrl !== undefined && values.databaseUrl === undefined) {
    faults.push(`${table.migrationDatabaseUrl.name}: is of use only with ${table.databaseUrl.name}`);
  }
  if (values.heartbeatFlushRows > values.heartbeatQueueRows) {
    faults.push(`${table.heartbeatFlushRows.name}: must not exceed ${table.heartbeatQueueRows.name}`);
  }
  return {
    /** Undefined: the service runs a PostgreSQL of its own in the data folder. */
    databaseUrl: values.databaseUrl,
    /** As whom to migrate; undefined: as whom the service works. */
    migrationDatabaseUrl: values.migrationDatabaseUrl,
    /** Absolute path. */
    dataDir,
    /** Where that PostgreSQL is. */
    postgresDir: join(dataDir, "postgres"),
    host: values.host,
    httpPort: values.httpPort,
    grpcPort: values.grpcPort,
    /** Of the ports; undefined: they are in clear. */
    tls: tlsOf(values, faults),
    /** Where firmware is kept. */
    storage: storageOf(values, dataDir, faults),
    /** How long a direct download's URL lives. */
    downloadUrlSeconds: values.downloadUrlSeconds,
    rollback: {
      failureThresholdPercent: values.failureThreshold,
      timeoutHours: values.rollbackTimeoutHours,
    },
    /** The first administrator's token and the first enrolment key, preset for automation. */
    adminToken: values.adminToken,
    enrolmentKey: values.enrolmentKey,
    /** For how long who may enrol again. */
    enrolment: {
      againMs: values.enrolAgainHours * 3_600_000,
      retryMs: values.enrolmentRetryMinutes * 60_000,
    },
    /** Undefined: for ever. */
    deviceTokenLifeMs: values.deviceTokenDays === 0 ? undefined : values.deviceTokenDays * 86_400_000,
    /** What is asked of the JWTs that devices sign. */
    deviceJwt: {
      audience: values.deviceJwtAudience,
      maxSeconds: values.deviceJwtMaxSeconds,
      toleranceSeconds: values.deviceJwtToleranceSeconds,
    },
    /** Where operators sign in beside tokens; undefined: nowhere. */
    oidc: oidcOf(values, faults),
    /** The most devices whose standing one call may change. */
    maxStandingChanges: values.maxStandingChanges,
    /** When a device is suspected to have a clone. */
    clones: {
      returns: values.cloneReturns,
      windowMs: values.cloneWindowHours * 3_600_000,
      quarantine: values.quarantineClones,
    },
    log: { level: values.logLevel, format: values.logFormat },
    audit: { anchorMs: values.auditAnchorMinutes * 60_000 },
    requireSignature: values.requireSignature,
    signatureThreshold: values.signatureThreshold,
    acceptTestKeys: values.acceptTestKeys,
    maxAttachmentBytes: values.maxAttachmentBytes,
    /** Of TUF metadata. */
    tuf: tufOf(values),
    /** How heartbeats are asked for, queued, written and kept. */
    heartbeat: {
      intervalSeconds: values.heartbeatInterval,
      queueRows: values.heartbeatQueueRows,
      queueBytes: values.heartbeatQueueBytes,
      flushRows: values.heartbeatFlushRows,
      flushMs: values.heartbeatFlushMs,
      retentionDays: values.heartbeatRetentionDays,
      fiveMinuteRollupDays: values.rollup5mRetentionDays,
      oneHourRollupDays: values.rollup1hRetentionDays,
    },
    drainSeconds: values.drainSeconds,
    /** What is done while database or store are away, and how that is found out. */
    outages: outagesOf(values),
    /** Undefined: errors go to the log alone. */
    errorTracking:
      values.sentryDsn === undefined
        ? undefined
        : { receiver: values.sentryDsn, environment: values.sentryEnvironment },
    /** Undefined: nothing is traced. */
    tracing:
      values.otlpEndpoint === undefined
        ? undefined
        : { endpoint: values.otlpEndpoint, share: values.traceSharePercent / 100 },
    corsOrigins: values.corsOrigins,
    trustedProxies: values.trustedProxies,
    /** What needs a person, and how long it is kept. */
    alerts: alertsOf(values),
    webhooks: webhooksOf(values),
    /** Undefined: no e-mail is sent. */
    email: emailOf(values, faults),
    ...limitsOf(values, values.trustedProxies),
  };
}

/** Tokens, keys and offers in clear are for everybody on the way to read and change. */
function refusePlaintext({ allowPlaintext, host, tlsCertFile, tlsHttp }: Values, faults: string[]): void {
  if (allowPlaintext || isLoopback(host) || (tlsCertFile !== undefined && tlsHttp)) return;
  const inClear = tlsCertFile === undefined ? "both ports" : "the HTTP port";
  faults.push(
    `${table.host.name}: ${host} is beyond this machine, and ${inClear} would be in clear there; give a certificate (${table.tlsCertFile.name}, \`device-ota certificate self-signed\`), or put a proxy that terminates TLS before it and set ${table.allowPlaintext.name}=true`,
  );
}
