/**
 * The advisory locks of the service, and the number by which PostgreSQL knows each. They stand in one table so that no two
 * have the same number and wait for each other's work. A number stays what it is while replicas of two versions may run.
 */
const numbers = {
  migrations: 7_236_400_911,
  partitions: 7_236_400_912,
  "operator tokens": 7_236_400_913,
  "roll-ups": 7_236_400_914,
  "first secrets": 7_236_400_915,
  "presence log": 7_236_400_921,
  "fleet counters": 7_236_400_922,
  "version history": 7_236_400_925,
  "audit chain": 7_236_400_939,
  "error collector": 7_236_400_951,
  alerts: 7_236_400_943,
  events: 7_236_400_944,
} as const;

/** A lock that one transaction (or session) of all replicas holds at a time, by what it guards. */
export type AdvisoryLock = keyof typeof numbers;

/** The number of a lock, for PostgreSQL's advisory lock functions. */
export function lockNumber(lock: AdvisoryLock): number {
  return numbers[lock];
}
