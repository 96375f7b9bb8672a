/**
 * SQL by which the counters of rollouts follow the rows of `device_updates`: statement triggers, and a recount by the same
 * conditions. A counter is added by a migration that adds its column, names it in a definition of its own and installs that.
 */

/** What an update counts for. Conditions are over the columns of `device_updates`. */
export interface RolloutCounters {
  /** Of its ring, columns `<name>_count` of `deployment_rings`: if `counted`, each counter whose condition holds. */
  readonly ring: { readonly counted: string; readonly counters: Readonly<Record<string, string>> };
  /** Those of them that `ring_key_counts` keeps by enrolment key as well. */
  readonly byKey: readonly string[];
  /** Of its rollout, columns `rollback_<name>` of `rollouts`. */
  readonly rollback: { readonly counted: string; readonly counters: Readonly<Record<string, string>> };
}

/** Makes the triggers and the recount, in place of those that are there. */
export function installRolloutCounters(counters: RolloutCounters): string[] {
  return [
    ...removeRolloutCounters(),
    ...trigger("insert", "new table as new_rows", changesOf(counters, [1, "new_rows"]), counters),
    ...trigger(
      "update",
      "old table as old_rows new table as new_rows",
      changesOf(counters, [-1, "old_rows"], [1, "new_rows"]),
      counters,
    ),
    ...trigger("delete", "old table as old_rows", changesOf(counters, [-1, "old_rows"]), counters),
    recountFunction(counters),
    repairFunction(counters),
  ];
}

/** Takes them away. */
export function removeRolloutCounters(): string[] {
  return [
    ...events.map((event) => `drop trigger if exists rollout_count_${event} on device_updates`),
    ...events.map((event) => `drop function if exists rollout_count_${event}()`),
    "drop function if exists rollout_repair()",
    "drop function if exists rollout_recount()",
  ];
}

const events = ["insert", "update", "delete"] as const;

/** One column of a table that counts. */
interface Column {
  readonly name: string;
  readonly condition: string;
}

function ringColumns({ ring }: RolloutCounters): Column[] {
  return Object.entries(ring.counters).map(([name, condition]) => ({
    name: `${name}_count`,
    condition: `(${ring.counted}) and (${condition})`,
  }));
}

function keyColumns(counters: RolloutCounters): Column[] {
  return ringColumns(counters).filter(({ name }) =>
    counters.byKey.some((counter) => name === `${counter}_count`),
  );
}

function rollbackColumns({ rollback }: RolloutCounters): Column[] {
  return Object.entries(rollback.counters).map(([name, condition]) => ({
    name: `rollback_${name}`,
    condition: `(${rollback.counted}) and (${condition})`,
  }));
}

/** Sums of what rows count for, by rollout, ring and key; `sources` are tables and the sign with which they count. */
function changesOf(
  counters: RolloutCounters,
  ...sources: readonly (readonly [sign: 1 | -1, table: string])[]
) {
  const columns = [...ringColumns(counters), ...rollbackColumns(counters)];
  const sums = sources.map(
    ([sign, table]) =>
      `select rollout_id, ring_id, enrolment_key_id, ${columns
        .map(({ name, condition }) => `${sign} * (count(*) filter (where ${condition})) as ${name}`)
        .join(", ")} from ${table} group by 1, 2, 3`,
  );
  return sums.join(" union all ");
}

/** The sums of `columns` of the changes, by `key`; what cancels out leaves no row. */
function sumsBy(key: string, columns: readonly Column[]): string {
  const sums = columns.map(({ name }) => `sum(${name})::bigint as ${name}`).join(", ");
  const changed = columns.map(({ name }) => `sum(${name}) <> 0`).join(" or ");
  return `select ${key}, ${sums} from changes group by ${key} having ${changed}`;
}

function added(to: string, from: string, columns: readonly Column[]): string {
  return columns.map(({ name }) => `${name} = ${to}.${name} + ${from}.${name}`).join(", ");
}

/**
 * Rings are locked in the order of their ids, for writers of other rollouts and of the same one that only share its row.
 * All is looked up by keys, also by a plan that was made while the tables were small.
 */
function trigger(
  event: (typeof events)[number],
  transition: string,
  changes: string,
  counters: RolloutCounters,
): string[] {
  const [rings, keys, rollbacks] = [ringColumns(counters), keyColumns(counters), rollbackColumns(counters)];
  const keyNames = keys.map(({ name }) => name).join(", ");
  return [
    `create function rollout_count_${event}() returns trigger language plpgsql set enable_seqscan = off as $$ begin
      with changes as materialized (${changes}),
      rings as materialized (${sumsBy("ring_id", rings)}),
      locked as materialized (
        select id from deployment_rings where id in (select ring_id from rings) order by id for no key update
      ),
      counted as (
        update deployment_rings r set ${added("r", "d", rings)}, updated_at = now()
        from rings d join locked l on l.id = d.ring_id where r.id = d.ring_id
      ),
      keys as (
        insert into ring_key_counts as k (ring_id, enrolment_key_id, ${keyNames})
        select * from (${sumsBy("ring_id, enrolment_key_id", keys)}) d
        where enrolment_key_id is not null order by 1, 2
        on conflict (ring_id, enrolment_key_id) do update set ${added("k", "excluded", keys)}
      )
      update rollouts r set ${added("r", "d", rollbacks)}, updated_at = now()
      from (${sumsBy("rollout_id", rollbacks)}) d where r.id = d.rollout_id;
      return null;
    end $$`,
    `create trigger rollout_count_${event} after ${event} on device_updates referencing ${transition}
      for each statement execute function rollout_count_${event}()`,
  ];
}

/** What the rows of `device_updates` add up to, by `key`. */
function recounted(key: string, columns: readonly Column[]): string {
  const sums = columns.map(({ name, condition }) => `count(*) filter (where ${condition}) as ${name}`);
  return `select ${key}, ${sums.join(", ")} from device_updates group by ${key}`;
}

/** Each counter of `columns` as a row: its name, what is stored in `stored` and what was counted in `counted`. */
function compared(columns: readonly Column[], stored: string, counted: string): string {
  const values = columns.map(
    ({ name }) => `('${name}', coalesce(${stored}.${name}, 0), coalesce(${counted}.${name}, 0))`,
  );
  return `cross join lateral (values ${values.join(", ")}) v (counter, stored, counted) where v.stored <> v.counted`;
}

/** One statement, so that it sees rows and counters of the same moment. */
function recountFunction(counters: RolloutCounters): string {
  const [rings, keys, rollbacks] = [ringColumns(counters), keyColumns(counters), rollbackColumns(counters)];
  const key = "ring_id, enrolment_key_id";
  return `create function rollout_recount()
    returns table (rollout_id uuid, ring_id uuid, enrolment_key_id uuid, counter text, stored bigint, counted bigint)
    language sql stable as $$
      select r.rollout_id, r.id, null::uuid, v.* from deployment_rings r
        left join (${recounted("ring_id", rings)}) c on c.ring_id = r.id ${compared(rings, "r", "c")}
      union all
      select r.rollout_id, r.id, enrolment_key_id, v.* from ring_key_counts k
        full join (${recounted(key, keys)}) c using (${key}) join deployment_rings r on r.id = ring_id
        ${compared(keys, "k", "c")} and enrolment_key_id is not null
      union all
      select r.id, null::uuid, null::uuid, v.* from rollouts r
        left join (${recounted("rollout_id", rollbacks)}) c on c.rollout_id = r.id ${compared(rollbacks, "r", "c")}
    $$`;
}

/** Sets what {@link recountFunction} finds wrong; returns how many counters that were. Writers of updates wait meanwhile. */
function repairFunction(counters: RolloutCounters): string {
  const [rings, keys, rollbacks] = [ringColumns(counters), keyColumns(counters), rollbackColumns(counters)];
  const keyNames = keys.map(({ name }) => name).join(", ");
  const set = (table: string, id: string, columns: readonly Column[]): string =>
    `update ${table} r set ${columns.map(({ name }) => `${name} = coalesce(c.${name}, 0)`).join(", ")}, updated_at = now()
      from ${table} t left join (${recounted(id, columns)}) c on c.${id} = t.id
      where t.id = r.id and t.id in (select w.${id} from wrong w)`;
  return `create function rollout_repair() returns bigint language plpgsql as $$
    declare repaired bigint;
    begin
      lock table device_updates in share row exclusive mode;
      create temporary table wrong on commit drop as select * from rollout_recount();
      select count(*) into repaired from wrong;
      ${set("deployment_rings", "ring_id", rings)};
      ${set("rollouts", "rollout_id", rollbacks)};
      delete from ring_key_counts k where k.ring_id in (select w.ring_id from wrong w);
      insert into ring_key_counts (ring_id, enrolment_key_id, ${keyNames})
        select * from (${recounted("ring_id, enrolment_key_id", keys)}) c
        where enrolment_key_id is not null and ring_id in (select w.ring_id from wrong w);
      drop table wrong;
      return repaired;
    end $$`;
}
