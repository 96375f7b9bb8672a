import { Socket } from "node:net";
import type { PoolConfig } from "pg";
import { hostLookup, lookingUpBy } from "../host-lookup.ts";

/** How many connections a replica holds at most, beside one that listens. */
export interface PoolSizes {
  /** Heartbeat ingest: two writers keep a disk busy, more only wait for each other. */
  readonly ingest: number;
  /** Units of work of the ORM. */
  readonly orm: number;
  /** Hand-written SQL outside the ORM. */
  readonly admin: number;
  /** Reads that cost much: as many at once, and one connection more, by which reads of callers who left are cancelled. */
  readonly heavyReads: number;
}

/** With them, six replicas fit PostgreSQL's default of 100. */
export const defaultPoolSizes: PoolSizes = { ingest: 2, orm: 6, admin: 4, heavyReads: 2 };

const { ingest, orm, admin, heavyReads } = defaultPoolSizes;

/** What a replica holds at most by default: its pools, one to cancel reads, and the listening one. 16. */
export const connectionsOfReplica = ingest + orm + admin + heavyReads + 1 + 1;

/** How long a caller waits for a connection, be it a new one or its turn in a pool that is used up. */
const connectionTimeoutMs = 3_000;

/** How long it waits to be told where the server is: less than that, and than readiness waits, so that they can say that it was this. */
const databaseLookup = hostLookup({ limitMs: 1_500 });

/** What the server allows one statement. Nothing in the service comes near it unless the server is ill. */
const statementTimeoutMs = 10_000;

/** What the server allows the wait for one lock: longer means that its holder is stuck. */
const lockTimeoutMs = 5_000;

/** When the server ends a session whose transaction does nothing: a replica that was paused must not block others. */
const idleInTransactionTimeoutMs = 15_000;

/** Our own wait for the answer to a statement that may take so long: for a server that cannot even say that it timed out. */
export function answerTimeoutMs(allowedMs = statementTimeoutMs): number {
  return allowedMs + 3_000;
}

/** How long an unused connection is kept. */
const idleConnectionTimeoutMs = 60_000;

/** When to probe a silent connection first, so that a cut network is noticed. */
const keepAliveDelayMs = 10_000;

/**
 * When the server probes a silent connection, so that it notices within half a minute that a machine of ours is gone. It may be
 * in the middle of a COPY then, which no time-out of a statement ends, and would keep the marks of its devices from all
 * other replicas for the two hours that TCP waits by default.
 */
const serverKeepAlive = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4";

/** What the one connection of each replica is for that hears notifications: whoever counts them counts replicas. */
export const listeningRole = "listen";

/** The name of a connection in pg_stat_activity, which every role may read. */
export function applicationName(role: string): string {
  return `device-ota ${role}`;
}

/**
 * Settings of a connection of ours. pg waits for ever by default, so every wait has an end here.
 *
 * @param role what the connection is for: see {@link applicationName}
 */
export function connectionSettings(url: string, role: string): PoolConfig {
  return {
    connectionString: url,
    application_name: applicationName(role),
    connectionTimeoutMillis: connectionTimeoutMs,
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    query_timeout: answerTimeoutMs(),
    idleTimeoutMillis: idleConnectionTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveDelayMs,
    options: serverKeepAlive,
    stream: () => lookingUpBy(databaseLookup, new Socket()),
  };
}
