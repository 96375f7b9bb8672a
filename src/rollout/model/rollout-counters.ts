import { count } from "../../infra/database/columns.ts";
import { identifier, joined, type Sql, sql, words } from "../../infra/database/sql.ts";

/**
 * The counters of rollouts, by name. PostgreSQL keeps them, in the statement that changes an update: see
 * `rollout-counters.ts` beside the migrations, which also says what each of them counts and counts them again.
 */

/** A ring's devices by the state of their update; each has a column `<name>_count`. */
export const ringCounters = {
  /** The sum of the four ways to end and of those in progress. */
  offered: "offered_count",
  /** OFFERED to VERIFYING. */
  inProgress: "in_progress_count",
  succeeded: "succeeded_count",
  /** FAILED and TIMED_OUT. */
  failed: "failed_count",
  /** CANCELLED and SUPERSEDED. */
  cancelled: "cancelled_count",
  rolledBack: "rolled_back_count",
  /** At the installation or past it: succeeded, failed, or in progress and begun. What gates judge. */
  began: "began_count",
  /** In progress, begun, and not heard from for the time in which they should be. */
  missing: "missing_count",
  /** Of those that succeeded: they run an older version again, though nobody rolled them back. */
  drifted: "drifted_count",
} as const;

/** See {@link ringCounters}. Rollbacks are not among them. */
export type RingCounters = Counts<typeof ringCounters>;

/** Of the devices of one enrolment key. */
export const keyCounters = {
  offered: "offered_count",
  succeeded: "succeeded_count",
  failed: "failed_count",
  began: "began_count",
  missing: "missing_count",
  drifted: "drifted_count",
} as const;

/** How rolling back goes; what is neither completed nor failed is in progress. */
export const rollbackCounters = {
  /** Devices that were told. */
  total: "rollback_total",
  completed: "rollback_completed",
  failed: "rollback_failed",
  /** Of the failed ones, those that must not be rolled back. */
  blocked: "rollback_blocked",
  /** Of the blocked ones, those that wait until the version to go back to is released. */
  unreleased: "rollback_unreleased",
  /** Of the failed ones, those that timed out and have not been heard since. */
  away: "rollback_away",
} as const;

/** A number for each counter. */
export type Counts<Counters> = { readonly [Name in keyof Counters]: number };

/** The counters as the text of a JSON object, in SQL; `table` is the alias of theirs. */
export function countsSql(counters: Readonly<Record<string, string>>, table: Sql): Sql {
  const entries = Object.entries(counters).map(
    ([name, column]) => sql`${words([name])}, ${table}.${identifier(column)}`,
  );
  return sql`json_build_object(${joined(entries, sql`, `)})::text`;
}

/** None of anything. */
export function noCounts<Counters extends object>(counters: Counters): Counts<Counters> {
  return Object.fromEntries(Object.keys(counters).map((name) => [name, 0])) as Counts<Counters>;
}

/** The properties of an entity that has the counters. */
export function countProperties<Counters extends Readonly<Record<string, string>>>(counters: Counters) {
  const properties = Object.entries(counters).map(([name, column]) => [`${name}Count`, countColumn(column)]);
  return Object.fromEntries(properties) as {
    [Name in keyof Counters & string as `${Name}Count`]: ReturnType<typeof countColumn>;
  };
}

function countColumn(name: string) {
  return count().default(0).fieldName(name);
}
