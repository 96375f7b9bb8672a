import type { Session } from "../infra/database/session.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import type { AlertSeverity } from "./alert.entity.ts";

/** When something needs a person, as the settings say. */
export interface AlertSettings {
  /** The most alerts of one rule that fire at once. */
  readonly maxPerRule: number;
  /** What happened once, such as a rollback, is an alert for so long. */
  readonly newsMs: number;
  /** More of a rollout's devices that began to install failed than this. */
  readonly failurePercent: number;
  /** More devices are offline than this; 100 and more: no alert. */
  readonly offlinePercent: number;
  /** Webhooks of which a delivery has been tried in vain for so long; of dead letters {@link newsMs} says. */
  readonly undeliveredMs: number;
  /** Keys and certificates that end within this time. */
  readonly expiryMs: number;
  /** How long an alert's condition must not hold before it is resolved. */
  readonly resolveMs: number;
  /** How long events and resolved alerts are kept. */
  readonly retentionMs: number;
}

/** An alert whose condition holds now. */
export interface DueAlert {
  readonly rule: string;
  readonly severity: AlertSeverity;
  readonly resourceType: string;
  /** Empty for the fleet and the service. */
  readonly resourceId: string;
  readonly summary: string;
}

/** How a rollout's own alert begins, by what it is about. */
export interface RolloutWords {
  /** It cannot go on by itself. */
  readonly stuck: string;
  /** Devices fell back: those are counted in its rings. */
  readonly drift: string;
}

/** What needs a person by what the database holds now, over the whole fleet. Each rule has a bounded number of alerts, the oldest first. */
export async function dueByRules(
  session: Session,
  settings: AlertSettings,
  words: RolloutWords,
): Promise<DueAlert[]> {
  const { maxPerRule, newsMs, failurePercent, undeliveredMs, expiryMs } = settings;
  const rows: readonly (readonly DueRow[])[] = [
    await session.query<DueRow>(rolloutsSql, [maxPerRule, newsMs, words.stuck, words.drift]),
    await session.query<DueRow>(ringsSql, [maxPerRule, failurePercent]),
    await session.query<DueRow>(crashesSql, [maxPerRule, newsMs]),
    await session.query<DueRow>(clonesSql, [maxPerRule]),
    await session.query<DueRow>(damagedSql, [maxPerRule]),
    await session.query<DueRow>(undeliveredSql, [maxPerRule, undeliveredMs, newsMs]),
    await session.query<DueRow>(expirySql, [maxPerRule, expiryMs, newsMs]),
    await session.query<DueRow>(signalsSql, [maxPerRule]),
  ];
  return rows.flat().map((row) => ({
    rule: row.rule,
    severity: row.severity,
    resourceType: row.resource_type,
    resourceId: row.resource_id,
    summary: row.summary,
  }));
}

interface DueRow {
  readonly rule: string;
  readonly severity: AlertSeverity;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly summary: string;
}

/** So many milliseconds, which parameter `at` says. */
function span(at: number): Sql {
  return sql`make_interval(secs => $${at}::float8 / 1000)`;
}

/** The first rows of each rule. */
function bounded(found: Sql): Sql {
  return sql`
    SELECT rule, severity, resource_type, resource_id, summary FROM (
      SELECT *, row_number() OVER (PARTITION BY rule ORDER BY since, resource_id) AS place FROM (${found}) found
    ) placed WHERE place <= $1`;
}

const rolloutsSql = bounded(sql`
  SELECT told.rule, told.severity, 'rollout' AS resource_type, r.id::text AS resource_id,
         left(format('rollout %s%s', r.name, told.words), 500) AS summary, r.created_at AS since
    FROM rollouts r CROSS JOIN LATERAL (
      SELECT 'rollout.rolled_back' AS rule, 'CRITICAL' AS severity, ' is rolled back: ' || r.state_reason AS words
       WHERE r.state = 'ROLLING_BACK' OR (r.state = 'ROLLED_BACK' AND r.ended_at > now() - ${span(2)})
      UNION ALL
      SELECT 'rollout.paused', 'WARNING', ' is paused: ' || r.state_reason WHERE r.state = 'PAUSED'
      UNION ALL
      SELECT 'rollout.awaits_approval', 'WARNING', ' waits for an approval before it starts' WHERE r.state = 'AWAITING_APPROVAL'
      UNION ALL
      SELECT CASE WHEN starts_with(r.alert, $3) THEN 'rollout.stuck' ELSE 'rollout.attention' END, 'WARNING', ': ' || r.alert
       WHERE r.alert <> '' AND r.state <> 'AWAITING_APPROVAL' AND NOT starts_with(r.alert, $4)
    ) told
   WHERE NOT r.is_deleted`);

/** Of fewer devices no share is told. */
const fewestJudged = 10;

const ringsSql = bounded(sql`
  SELECT told.rule, told.severity, 'rollout' AS resource_type, r.id::text AS resource_id,
         left(format('rollout %s: %s', r.name, told.words), 500) AS summary, r.created_at AS since
    FROM rollouts r
    CROSS JOIN LATERAL (
      SELECT sum(missing_count) AS missing, sum(drifted_count) AS drifted, sum(failed_count) AS failed, sum(began_count) AS began
        FROM deployment_rings WHERE rollout_id = r.id) c
    CROSS JOIN LATERAL (
      SELECT 'rollout.devices_missing' AS rule, 'WARNING' AS severity,
             format('devices that began to install and are not heard: %s', c.missing) AS words WHERE c.missing > 0
      UNION ALL
      SELECT 'rollout.drift', 'WARNING', format('devices that fell back to an older version by themselves: %s', c.drifted)
       WHERE c.drifted > 0
      UNION ALL
      SELECT 'rollout.failure_rate', 'CRITICAL', format('%s of %s devices that began to install failed', c.failed, c.began)
       WHERE r.state = 'RUNNING' AND c.began >= ${fewestJudged} AND c.failed * 100 > $2::numeric * c.began
    ) told
   WHERE NOT r.is_deleted AND r.state NOT IN ('DRAFT', 'AWAITING_APPROVAL', 'SCHEDULED')`);

const crashesSql = bounded(sql`
  SELECT told.rule, told.severity, 'error_group' AS resource_type, g.id::text AS resource_id,
         left(told.words || g.title, 500) AS summary, told.since
    FROM error_groups g CROSS JOIN LATERAL (
      SELECT 'crash.new' AS rule, 'WARNING' AS severity, 'a crash that was never seen before: ' AS words, g.first_seen_at AS since
       WHERE g.fatal AND g.first_seen_at > now() - ${span(2)}
      UNION ALL
      SELECT 'crash.regression', 'CRITICAL', 'a version that is newer than the mended one has it again: ', g.regressed_at
       WHERE g.regressed_at > now() - ${span(2)}
    ) told
   WHERE g.state = 'open' AND g.merged_into IS NULL`);

const clonesSql = bounded(sql`
  SELECT 'device.clone' AS rule, 'CRITICAL' AS severity, 'device' AS resource_type, id::text AS resource_id,
         left(format('device %s is suspected to have a clone', serial_number), 500) AS summary, clone_suspected_at AS since
    FROM devices WHERE clone_suspected_at IS NOT NULL AND NOT is_deleted`);

const damagedSql = bounded(sql`
  SELECT 'firmware.damaged' AS rule, 'CRITICAL' AS severity, 'firmware' AS resource_type, id::text AS resource_id,
         left(format('the stored content of %s %s is damaged or missing; upload it again', product, version), 500) AS summary,
         damaged_at AS since
    FROM firmware_updates WHERE damaged_at IS NOT NULL AND NOT is_deleted`);

/**
 * Signing keys count if they signed something of the catalogue; of TUF metadata the newest root and targets, whichever ends first.
 * What was made for a short time is not told of: who made it knows.
 */
const expirySql = bounded(sql`
  SELECT DISTINCT ON (kind, id) 'key.expires' AS rule, 'WARNING' AS severity, kind AS resource_type, id AS resource_id,
         left(format('the %s ends at %s UTC', words, to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')), 500)
           AS summary, expires_at AS since
    FROM (SELECT 'enrolment_key' AS kind, id::text AS id, 'enrolment key ' || name AS words, expires_at, created_at
            FROM enrolment_keys WHERE revoked_at IS NULL
          UNION ALL
          SELECT 'token', id::text, 'token ' || name, expires_at, created_at FROM operator_tokens WHERE revoked_at IS NULL
          UNION ALL
          SELECT 'signing_key', id, 'signing key ' || name, expires_at, created_at FROM signing_keys k
           WHERE revoked_at IS NULL AND EXISTS (
             SELECT FROM firmware_signatures s JOIN firmware_updates f ON f.id = s.firmware_id AND NOT f.is_deleted
              WHERE s.key_id = k.id)
          UNION ALL
          (SELECT DISTINCT ON (product, role) 'tuf_repository', product, format('TUF %s of %s', role, product), expires_at, created_at
             FROM tuf_metadata WHERE role IN ('root', 'targets') ORDER BY product, role, version DESC)) k
   WHERE expires_at < now() + ${span(2)} AND expires_at > now() - ${span(3)} AND expires_at - created_at > 2 * ${span(2)}
   ORDER BY kind, id, expires_at`);

/**
 * What waits is told of first. A delivery that ended as a dead letter is told of while it is news and none has arrived since: the last one
 * that ended says so, whether the receiver refused it for good or it was given up.
 */
const undeliveredSql = bounded(sql`
  SELECT 'webhook.undelivered' AS rule, 'WARNING' AS severity, 'webhook' AS resource_type, w.id::text AS resource_id,
         left(format(d.words, w.name, d.outcome), 500) AS summary, d.since
    FROM webhooks w CROSS JOIN LATERAL (
      SELECT * FROM (
        (SELECT 1 AS place, 'webhook %s takes nothing: %s' AS words, outcome, since FROM webhook_deliveries
          WHERE webhook_id = w.id AND state = 'PENDING' AND outcome <> '' AND since < now() - ${span(2)} ORDER BY due_at LIMIT 1)
        UNION ALL
        SELECT 2, 'webhook %s: a delivery is a dead letter, and none has arrived since: %s', outcome, since FROM (
          SELECT state, outcome, since, due_at FROM webhook_deliveries
           WHERE webhook_id = w.id AND state <> 'PENDING' ORDER BY due_at DESC LIMIT 1) ended
         WHERE state = 'DEAD' AND due_at > now() - ${span(3)}
      ) found ORDER BY place LIMIT 1) d
   WHERE NOT w.disabled`);

/** One alert of all replicas that see the same; in the words of whoever looked last. */
const signalsSql = bounded(sql`
  SELECT DISTINCT ON (rule) rule, severity, 'service' AS resource_type, '' AS resource_id, summary, expires_at AS since
    FROM alert_signals WHERE expires_at > now() ORDER BY rule, expires_at DESC`);
