/**
 * What was seen of one health signal of one rollout, as sums. Sums of disjoint parts (replicas, hardware models, spans of
 * time) may be added: the logarithms of their evidence add up, because each part is fair given what came before it.
 */
export interface EvidenceSums {
  /** Events (first crash, reboot or silence of a device) on the new version. */
  readonly updatedEvents: number;
  /** Events on other versions. */
  readonly controlEvents: number;
  /** Hours that devices were at risk of one, or were measured, on the new version. */
  readonly updatedHours: number;
  /** The same on other versions. */
  readonly controlHours: number;
  /** Log-evidence for each hazard ratio of {@link file://./safe-logrank.ts}; all zero without events. */
  readonly logFactors: readonly number[];
  /** Of mean shifts: the sum of shifts, each times its information. */
  readonly score: number;
  /** Of mean shifts: the sum of information, one over the variance of each shift. */
  readonly information: number;
  /** Sum of the readings' changes on the new version, and how many devices they come from. */
  readonly updatedSum: number;
  readonly updatedCount: number;
  /** The same for devices that stayed on another version. */
  readonly controlSum: number;
  readonly controlCount: number;
}

/** Nothing seen. */
export const noEvidence: EvidenceSums = {
  updatedEvents: 0,
  controlEvents: 0,
  updatedHours: 0,
  controlHours: 0,
  logFactors: [],
  score: 0,
  information: 0,
  updatedSum: 0,
  updatedCount: 0,
  controlSum: 0,
  controlCount: 0,
};

/** Both together. */
export function addEvidence(a: EvidenceSums, b: EvidenceSums): EvidenceSums {
  const length = Math.max(a.logFactors.length, b.logFactors.length);
  return {
    updatedEvents: a.updatedEvents + b.updatedEvents,
    controlEvents: a.controlEvents + b.controlEvents,
    updatedHours: a.updatedHours + b.updatedHours,
    controlHours: a.controlHours + b.controlHours,
    logFactors: Array.from({ length }, (_, at) => (a.logFactors[at] ?? 0) + (b.logFactors[at] ?? 0)),
    score: a.score + b.score,
    information: a.information + b.information,
    updatedSum: a.updatedSum + b.updatedSum,
    updatedCount: a.updatedCount + b.updatedCount,
    controlSum: a.controlSum + b.controlSum,
    controlCount: a.controlCount + b.controlCount,
  };
}
