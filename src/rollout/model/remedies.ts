import type { Remedy } from "./foresight.ts";
import { awaitedApproval, frontRing, isForNobody, type Ring, type Rollout } from "./rollout.ts";
import { isStuckAlert } from "./stuck-alert.ts";

/** What would mend what a rollout's alert says, what helps best first; nothing if it has none. */
export function remediesOf(rollout: Rollout): Remedy[] {
  if (rollout.alert === "") return [];
  return [...uploads(rollout), ...(isStuckAlert(rollout.alert) ? waysOn(rollout) : [])];
}

function uploads({ product, missingVersions }: Rollout): Remedy[] {
  return missingVersions.map((version) => ({
    action: "UPLOAD_FIRMWARE",
    message: `an operator can upload and release ${product} ${version}, which devices are to go back to`,
    product,
    version,
  }));
}

function waysOn(rollout: Rollout): Remedy[] {
  const { id: rolloutId, state, rings, creator } = rollout;
  const front = frontRing(rings);
  const held = front?.gateHeldSince !== undefined;
  const unapproved = awaitedApproval(rollout);
  if (unapproved !== undefined && (state === "AWAITING_APPROVAL" || held)) {
    const { name } = unapproved;
    return [
      {
        action: "APPROVE",
        message: `an operator other than ${creator} can approve ring ${name}`,
        rolloutId,
        ring: name,
      },
    ];
  }
  const abort: Remedy = { action: "ABORT", message: "an operator can abort it", rolloutId };
  if (front === undefined) return [abort];
  if (isForNobody(rollout)) {
    const message = "an operator can enrol devices that it is for";
    return [{ action: "ENROL_DEVICES", message, rolloutId }, abort];
  }
  const rollBack: Remedy = { action: "ROLL_BACK", message: "an operator can roll it back", rolloutId };
  return [
    ...(held ? [] : waysOfDevices(rolloutId, front)),
    promotion(rolloutId, rings[front.position + 1]),
    rollBack,
    abort,
  ];
}

function waysOfDevices(rolloutId: string, { name, counters, census }: Ring): Remedy[] {
  const about = { rolloutId, ring: name };
  const ways: Remedy[] = [];
  if (counters.failed > 0) {
    const message = `an operator can let the failed devices of ring ${name} (${counters.failed}) try again`;
    ways.push({ action: "RETRY_DEVICES", message, ...about });
  }
  const unheard = counters.missing + (census?.awaited ?? 0);
  if (unheard > 0) {
    const message = `whoever is at the devices of ring ${name} that are waited for (${unheard}) can bring them online`;
    ways.push({ action: "BRING_ONLINE", message, ...about });
  }
  return ways;
}

function promotion(rolloutId: string, next: Ring | undefined): Remedy {
  const effect = next === undefined ? "which completes it" : `which opens ring ${next.name}`;
  return {
    action: "PROMOTE",
    message: `an operator can promote it, ${effect}`,
    rolloutId,
    ...(next === undefined ? {} : { ring: next.name }),
  };
}
