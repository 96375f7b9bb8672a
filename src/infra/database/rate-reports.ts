import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { applicationName, listeningRole } from "./connection-settings.ts";
import type { Session } from "./session.ts";
import { sql } from "./sql.ts";

/** How many calls of a caller a replica let through in a class, since its last report. */
export type ReportedCalls = readonly [rate: string, key: string, calls: number];

/** What another replica told. */
export interface HeardReport {
  readonly calls: readonly ReportedCalls[];
  /** How long ago, by the database's clock. */
  readonly agoMs: number;
}

/**
 * What replicas tell each other of the calls that they let through: a row for each report, whatever number of callers it names,
 * kept for a minute or two, so that a replica that starts learns of the last minute.
 */
export class RateReports {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #replica = randomUUID();
  #told = 0;
  /** The last report heard of each other replica, and when. */
  readonly #heard = new Map<string, { readonly number: number; readonly atMs: number }>();
  #purgeAtMs = Number.NEGATIVE_INFINITY;

  constructor(session: Session, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
  }

  /** Tells the other replicas. Writes nothing if there is none. */
  async tell(calls: readonly ReportedCalls[]): Promise<void> {
    this.#told++;
    const values = [this.#replica, this.#told, JSON.stringify(calls), applicationName(listeningRole)];
    await this.#session.run(tellSql, values);
  }

  /** What the others told since the last time, oldest first; at first, what they told in the last minute. */
  async hear(): Promise<HeardReport[]> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#purgeAtMs) await this.#purge(nowMs);
    const known = [...this.#heard];
    const rows = await this.#session.query<Row>(hearSql, [
      this.#replica,
      known.map(([replica]) => replica),
      known.map(([, { number }]) => number),
    ]);
    for (const { replica, number } of rows) this.#heard.set(replica, { number, atMs: nowMs });
    return rows.map(({ calls, ago_ms: agoMs }) => ({ calls, agoMs }));
  }

  async #purge(nowMs: number): Promise<void> {
    this.#purgeAtMs = nowMs + purgeEveryMs;
    for (const [replica, { atMs }] of this.#heard)
      if (atMs < nowMs - forgetReplicaMs) this.#heard.delete(replica);
    await this.#session.run(purgeSql);
  }
}

interface Row {
  readonly replica: string;
  readonly number: number;
  readonly calls: ReportedCalls[];
  readonly ago_ms: number;
}

const purgeEveryMs = 60_000;

/** By then all that a replica told is too old to be heard. */
const forgetReplicaMs = 180_000;

/** How long a report is worth hearing. */
const memory = sql`interval '1 minute'`;

/** The most reports heard at once: of 100 replicas for some seconds. */
const heardAtOnce = 1_000;

/** Each replica has one connection that listens; one that lost it for a moment has told something lately. */
const tellSql = sql`
  INSERT INTO rate_reports (replica, number, calls)
  SELECT $1::uuid, $2::int, $3::jsonb
   WHERE (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $4) > 1
      OR EXISTS (SELECT FROM rate_reports WHERE replica <> $1::uuid AND reported_at > now() - ${memory})`;

const hearSql = sql`
  SELECT told.replica, told.number, told.calls,
         (extract(epoch FROM clock_timestamp() - told.reported_at) * 1000)::float8 AS ago_ms
    FROM rate_reports told
    LEFT JOIN unnest($2::uuid[], $3::int[]) AS heard (replica, number) ON heard.replica = told.replica
   WHERE told.replica <> $1 AND told.number > coalesce(heard.number, 0) AND told.reported_at > now() - ${memory}
   ORDER BY told.reported_at, told.number LIMIT ${heardAtOnce}`;

/** Whatever another replica is just deleting is left to it. */
const purgeSql = sql`
  DELETE FROM rate_reports WHERE (replica, number) IN (
    SELECT replica, number FROM rate_reports WHERE reported_at < now() - 2 * ${memory} FOR UPDATE SKIP LOCKED)`;
