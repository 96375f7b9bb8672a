import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { RolloutState } from "../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { rowsWritten } from "./harness/rows-written.ts";
import { median, timed } from "./harness/timing.ts";
import { releaseFirmware } from "./load/admin.ts";
import { type RunningFleet, startFleet } from "./load/running-fleet.ts";

/** Rollouts of each fleet on which each verb is timed; the least counts, since noise only adds. */
const timedCount = 15;

/** In the order in which a rollout can go through them. */
const verbs = ["start", "promote", "pause", "resume", "rollback"] as const;

type Verb = (typeof verbs)[number];

/** The tables that say how rollouts go. */
const rolloutTables = ["rollouts", "deployment_rings", "device_updates", "ring_key_counts", "audit_events"];

/** Time and rows written of each verb over a small and over a large fleet: they should be the same. */
export async function rolloutVerbs({ fleet }: BenchOptions): Promise<BenchResult[]> {
  const large = await fleet.open();
  await using small = await startFleet(1_000, { callers: false });
  // The first of each is the one whose rows are counted.
  const [fewFirst = "", ...few] = await createRollouts(small);
  const [manyFirst = "", ...many] = await createRollouts(large);
  const results: BenchResult[] = [];
  for (const verb of verbs) {
    const [fewRows, manyRows] = [await rowsOf(small, verb, fewFirst), await rowsOf(large, verb, manyFirst)];
    const fewTimes: number[] = [];
    const manyTimes: number[] = [];
    // In turn, so that a drift of the machine's speed meets both alike.
    for (let index = 0; index < timedCount; index++) {
      fewTimes.push(await timed(() => use(small.admin, verb, few[index] ?? "")));
      manyTimes.push(await timed(() => use(large.admin, verb, many[index] ?? "")));
    }
    const note = `${large.devices} devices against ${small.devices}, none of them at the update yet`;
    results.push(
      {
        bench: `rollout-${verb}-time`,
        value: Math.min(...manyTimes),
        unit: "ms",
        floor: Math.min(...fewTimes),
        target: "about 1",
        note: `${note}; best of ${timedCount}, medians ${median(manyTimes).toFixed(1)} and ${median(fewTimes).toFixed(1)}`,
      },
      {
        bench: `rollout-${verb}-rows`,
        value: manyRows,
        unit: "rows written",
        floor: fewRows,
        target: "1",
        note: `${note}; rollouts, rings, device updates and audit log`,
      },
    );
  }
  return results;
}

/** Draft rollouts, each of a product of its own. */
async function createRollouts({ admin }: RunningFleet): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index <= timedCount; index++) {
    const firmware = await releaseFirmware(admin, {
      product: `verbs-${index}`,
      version: "2.0.0",
      deviceTypes: ["bench"],
      bytes: randomBytes(256),
    });
    const { rollout } = await admin.unary(RolloutService.method.createRollout, { firmwareId: firmware.id });
    ids.push(rollout?.id ?? "");
  }
  return ids;
}

/** To the end of what the verb brings about. */
function rowsOf({ admin, database }: RunningFleet, verb: Verb, id: string): Promise<number> {
  return rowsWritten(database, rolloutTables, async () => {
    await use(admin, verb, id);
    if (verb !== "rollback") return;
    const deadline = performance.now() + finishMs;
    for (;;) {
      const { rollout } = await admin.unary(RolloutService.method.getRollout, { id });
      if (rollout?.state === RolloutState.ROLLED_BACK) return;
      if (performance.now() > deadline) throw new Error("the rollback does not end");
      await delay(pollMs);
    }
  });
}

/** How long a rollback of no device may take, and how often it is looked at. */
const finishMs = 30_000;
const pollMs = 20;

async function use(admin: RunningFleet["admin"], verb: Verb, id: string): Promise<unknown> {
  const { method } = RolloutService;
  switch (verb) {
    case "start":
      return await admin.unary(method.startRollout, { id });
    case "promote":
      return await admin.unary(method.promoteRollout, { id });
    case "pause":
      return await admin.unary(method.pauseRollout, { id });
    case "resume":
      return await admin.unary(method.resumeRollout, { id });
    case "rollback":
      return await admin.unary(method.rollbackRollout, { id });
  }
}
