import type { Cause } from "../../call/cause.ts";
import { OtaError } from "../../errors.ts";
import { sql, words } from "../../infra/database/sql.ts";
import type { NewRollout, RolloutDefaults } from "../model/new-rollout.ts";
import { frontRing, type Rollout } from "../model/rollout.ts";
import { differencesOf } from "../model/rollout-difference.ts";
import { makesOffers, ongoingStates } from "../model/rollout-state.ts";
import { lockRollout, type RolloutTransaction, readRollout } from "../model/rollout-transactions.ts";
import { promote, requireRing, start } from "./rollout-verbs.ts";

/**
 * The newest rollout of the wanted firmware that has begun, is not over, and is as wanted, locked; undefined if the firmware
 * has none that has begun. `ROLLOUT_DIFFERS` if it has, and none of them is as wanted. The firmware must be locked.
 */
export async function ongoingRollout(
  tx: RolloutTransaction,
  wanted: NewRollout,
  defaults: RolloutDefaults,
): Promise<Rollout | undefined> {
  const rows = await tx.query<{ id: string }>(ongoingSql, [wanted.firmwareId]);
  let refusal: OtaError | undefined;
  for (const { id } of rows) {
    const rollout = await readRollout(tx, id);
    const differences = differencesOf(rollout, wanted, defaults);
    if (differences.length === 0) return await lockRollout(tx, id);
    refusal ??= differs(rollout, differences);
  }
  if (refusal !== undefined) throw refusal;
  return undefined;
}

/** Starts a draft and takes it to the ring, the first one unless named. */
export async function startTo(
  tx: RolloutTransaction,
  draft: Rollout,
  ringName: string | undefined,
  by: Cause,
): Promise<void> {
  const ring = ringName === undefined ? draft.rings[0] : requireRing(draft.rings, ringName);
  await start(tx, draft, by);
  if (ring === undefined || ring.position === 0) return;
  await takeTo(tx, await readRollout(tx, draft.id), ring.name, by);
}

/**
 * Takes a rollout that has begun to the ring, the first one unless named; one that is open already stays so.
 * `ILLEGAL_TRANSITION` while it makes no offers, and for a further ring of one that waits for an approval or its time.
 */
export async function takeTo(
  tx: RolloutTransaction,
  rollout: Rollout,
  ringName: string | undefined,
  by: Cause,
): Promise<void> {
  const name = ringName ?? rollout.rings[0]?.name ?? "";
  const { position } = requireRing(rollout.rings, name);
  const waits = rollout.state === "AWAITING_APPROVAL" || rollout.state === "SCHEDULED";
  // The first one is what it opens then.
  if (waits && position === 0) return;
  if (waits) throw mustWait(rollout, name);
  const reached = position <= (frontRing(rollout.rings)?.position ?? -1);
  if (!makesOffers(rollout.state) || !reached) await promote(tx, rollout, by, name);
}

function mustWait({ id, state, policy }: Rollout, ring: string): OtaError {
  const until = state === "SCHEDULED" ? `its start time ${policy.startAt}` : "an approval";
  return new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `ring ${ring} cannot be opened: the rollout waits for ${until}; deploy without a ring, and promote it when it runs`,
    {
      metadata: { resource: "rollout", id, verb: "deploy", state, ring },
      fields: [{ field: "ring", description: `cannot be opened before ${until}` }],
    },
  );
}

function differs({ id, name, state }: Rollout, differences: readonly string[]): OtaError {
  return new OtaError(
    "failed_precondition",
    "ROLLOUT_DIFFERS",
    `rollout ${name} of this firmware is ${state} with other ${differences.join(", ")}; leave them out to take it on, ` +
      "or create a rollout of its own with them",
    {
      metadata: { rollout_id: id, fields: differences.join(",") },
      fields: differences.map((field) => ({ field, description: `is another one in rollout ${id}` })),
    },
  );
}

/** The rollouts of firmware $1 that have begun and are not over, newest first; ways out of recalls are none that could be taken on. */
const ongoingSql = sql`
  SELECT id FROM rollouts
  WHERE firmware_id = $1::uuid AND recall_id IS NULL AND NOT is_deleted AND state IN (${words(ongoingStates)})
  ORDER BY id DESC`;
