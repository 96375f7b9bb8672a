/**
 * The safe logrank test: whether events (first crash, first reboot, first silence of a device) strike updated devices more
 * often than the others, valid however often it is looked at. After ter Schure, Pérez-Ortiz, Ly and Grünwald, "The safe
 * logrank test: error control under continuous monitoring with unlimited horizon" (arXiv:2011.06931).
 *
 * Each time that a device has its event, one asks on which side it was. If the update changes nothing, it was one of the
 * `updated + control` devices at risk with equal chance, for rings are drawn by lot. Under a hazard ratio r an updated one
 * is r times as likely. The likelihood ratio of the two, multiplied over all events, is evidence that stays below 1/alpha
 * for ever with probability 1 - alpha (Ville's inequality). Base rate, time of day and what is typical for a model cancel
 * out, as only devices of the same model at the same moment are compared.
 *
 * A device counts once in a rollout, with its first event, and is no longer at risk afterwards on either side. That is
 * what keeps devices that crash all the time from being taken for an effect of the update.
 */

/** The hazard ratios that evidence is kept for: their mean is the test's mixture, so no effect size has to be guessed. */
export const hazardRatios = [1.5, 2, 3, 5] as const;

/** The ratio from which on an effect counts: "no worse" rules this out. */
const noticeableRatio = 2;

const noticeableAt = hazardRatios.indexOf(noticeableRatio);

/** Devices of one hardware model that could have the event now, the one that has it included. */
export interface AtRisk {
  readonly updated: number;
  readonly control: number;
}

/** The log-likelihood ratios of one event, one for each of {@link hazardRatios}. Zero if only one side is at risk. */
export function eventLogFactors(struck: "updated" | "control", { updated, control }: AtRisk): number[] {
  const share = updated / (updated + control);
  return hazardRatios.map((ratio) => {
    const scale = 1 - share + ratio * share;
    return struck === "updated" ? Math.log(ratio / scale) : -Math.log(scale);
  });
}

/** The evidence that updated devices have more events: the mean over {@link hazardRatios}. 1 where nothing was seen. */
export function evidenceOfHarm(logFactors: readonly number[]): number {
  let sum = 0;
  for (let at = 0; at < hazardRatios.length; at++) sum += Math.exp(logFactors[at] ?? 0);
  return sum / hazardRatios.length;
}

/** The evidence against a hazard ratio of 2 or more, in favour of 1. */
export function evidenceAgainstHarm(logFactors: readonly number[]): number {
  return Math.exp(-(logFactors[noticeableAt] ?? 0));
}

/**
 * The evidence that updated devices have fewer events than `ratePerHour`, whatever the others do: a healthy fleet without
 * any event on either side is no worse once enough device hours have passed. The likelihood ratio of a quarter of the
 * rate against the rate, for a Poisson process.
 */
export function evidenceOfRareness(events: number, hours: number, ratePerHour: number): number {
  return Math.exp(events * Math.log(rareShare) + (1 - rareShare) * ratePerHour * hours);
}

const rareShare = 1 / 4;
