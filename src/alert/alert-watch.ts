import { v7 as uuidv7 } from "uuid";
import { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import type { ReadSession, Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";
import { type AlertSettings, type DueAlert, dueByRules, type RolloutWords } from "./alert-rules.ts";
import type { ReplicaSignals } from "./replica-signals.ts";

/** What {@link AlertWatch} is made of. */
export interface AlertWatchParts {
  readonly database: Pick<Database, "pool">;
  readonly signals: ReplicaSignals;
  /** How many devices are offline, of those that were ever heard. */
  readonly presence: (session: ReadSession) => Promise<{ readonly offline: number; readonly heard: number }>;
  readonly settings: AlertSettings;
  readonly rolloutWords: RolloutWords;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Opens and closes alerts. One replica at a time compares what the rules find with the alerts that fire, so that each is opened
 * once, whatever the number of replicas; an alert and the event that tells of it are written together. What was missed while
 * no replica ran is found by the next look, for rules judge what the database holds and not what happened before.
 */
export class AlertWatch {
  readonly round: Round;
  readonly #parts: AlertWatchParts;

  constructor(parts: AlertWatchParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({
      name: "alerts",
      everyMs: lookMs,
      work: (signal) => this.#look(signal),
      clock,
      logger,
    });
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { database, signals, settings, rolloutWords } = this.#parts;
    await signals.look(signal);
    await database.pool.inTurn("alerts", async (session) => {
      const due = await dueByRules(session, settings, rolloutWords);
      await reconcile(session, [...due, ...(await this.#offline(session))], settings);
    });
  }

  async #offline(session: ReadSession): Promise<DueAlert[]> {
    const { presence, settings } = this.#parts;
    const { offline, heard } = await presence(session);
    if (heard < smallestFleet || offline * 100 <= settings.offlinePercent * heard) return [];
    const summary = `${offline} of ${heard} devices are offline`;
    return [{ rule: "fleet.offline", severity: "CRITICAL", resourceType: "fleet", resourceId: "", summary }];
  }
}

/** Opens what is due and not open, says what is open as it is now, and closes what has not been due for some time. */
async function reconcile(
  session: Session,
  due: readonly DueAlert[],
  { resolveMs }: AlertSettings,
): Promise<void> {
  const rows = due.map(({ rule, severity, resourceType, resourceId, summary }) => ({
    id: uuidv7(),
    key: resourceId === "" ? rule : `${rule}/${resourceId}`,
    rule,
    severity,
    resource_type: resourceType,
    resource_id: resourceId,
    summary,
  }));
  const found = JSON.stringify(rows);
  if (rows.length > 0) {
    await session.run(fireSql, [found]);
    await session.run(refreshSql, [found]);
  }
  await session.run(clearSql, [rows.map(({ key }) => key)]);
  await session.run(resolveSql, [resolveMs]);
}

const lookMs = 2_000;

/** Of fewer devices no share is told. */
const smallestFleet = 10;

const dueRows = sql`jsonb_to_recordset($1::jsonb) AS d
    (id uuid, key text, rule text, severity text, resource_type text, resource_id text, summary text)`;

/** The event of what an alert has become. */
const eventOf = sql`resource_type, resource_id, summary,
  jsonb_build_object('alert_id', id, 'key', key, 'rule', rule, 'severity', severity)`;

const fireSql = sql`
  WITH fired AS (
    INSERT INTO alerts (id, key, rule, severity, resource_type, resource_id, summary)
    SELECT d.* FROM ${dueRows} WHERE NOT EXISTS (SELECT FROM alerts a WHERE a.key = d.key AND a.resolved_at IS NULL)
    ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING
    RETURNING *)
  INSERT INTO fleet_events (id, type, resource_type, resource_id, summary, details)
  SELECT gen_random_uuid(), 'alert.firing', ${eventOf} FROM fired`;

const refreshSql = sql`
  UPDATE alerts a SET summary = d.summary, severity = d.severity, clear_since = NULL
    FROM ${dueRows}
   WHERE a.key = d.key AND a.resolved_at IS NULL
     AND (a.summary <> d.summary OR a.severity <> d.severity OR a.clear_since IS NOT NULL)`;

const clearSql = sql`
  UPDATE alerts SET clear_since = now() WHERE resolved_at IS NULL AND clear_since IS NULL AND key <> ALL($1::text[])`;

const resolveSql = sql`
  WITH resolved AS (
    UPDATE alerts SET resolved_at = now()
     WHERE resolved_at IS NULL AND clear_since <= now() - make_interval(secs => $1::float8 / 1000)
    RETURNING *)
  INSERT INTO fleet_events (id, type, resource_type, resource_id, summary, details)
  SELECT gen_random_uuid(), 'alert.resolved', ${eventOf} FROM resolved`;
