import type { RolloutWarning } from "../model/foresight.ts";
import { percentText } from "../model/percent-text.ts";
import type { Preview } from "../preview/preview-tally.ts";

/** Rings that nobody or a single device is in, of those that are still to be passed. */
export function ringWarnings({
  rollout: { rings: planned },
  rings,
  targetedCount,
}: Pick<Preview, "rollout" | "rings" | "targetedCount">): RolloutWarning[] {
  if (rings.every(({ census }) => census.eligible === 0)) return [nobody(targetedCount)];
  const last = rings.length - 1;
  return rings.flatMap(({ name, census, gate, state, percentBasisPoints }, at): RolloutWarning[] => {
    if (state !== "WAITING") return [];
    const about = { count: census.eligible, subject: name, remedies: [] };
    const told: RolloutWarning[] = [];
    if (percentBasisPoints > (planned[at]?.percentBasisPoints ?? 0) && at === 0)
      told.push({
        ...about,
        code: "RING_WIDENED",
        message: `ring ${name} holds nobody who waits for the update at ${percentText(planned[at]?.percentBasisPoints ?? 0)}: it will reach ${percentText(percentBasisPoints)}, to the first device that does`,
      });
    if (gate.minSample === 0) return told;
    if (census.eligible === 0)
      told.push({
        ...about,
        code: "RING_EMPTY",
        message: `ring ${name} holds nobody who waits for the update, and passes at once`,
      });
    if (census.eligible === 1 && at < last)
      told.push({
        ...about,
        code: "RING_OF_ONE",
        message: `one device alone decides the gate of ring ${name}`,
      });
    return told;
  });
}

function nobody(targetedCount: number): RolloutWarning {
  if (targetedCount > 0)
    return {
      code: "NO_DEVICE",
      message: `none of the targeted devices (${targetedCount}) waits for the update`,
      count: 0,
      subject: "",
      remedies: [],
    };
  return {
    code: "NO_DEVICE",
    message: "no device is one that it is for",
    count: 0,
    subject: "",
    remedies: [
      { action: "ENROL_DEVICES", message: "an operator can enrol devices that it is for, or target others" },
    ],
  };
}
