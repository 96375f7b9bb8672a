import { type EvidenceSums, noEvidence } from "./evidence-sums.ts";
import {
  type EventSignal,
  type HealthSignal,
  healthSignals,
  type MeanSignal,
  type SignalName,
} from "./health-signals.ts";
import { evidenceAgainstRise, evidenceOfRise } from "./mean-shift.ts";
import { evidenceAgainstHarm, evidenceOfHarm, evidenceOfRareness } from "./safe-logrank.ts";

/** See the contract's HealthVerdict. */
export type HealthVerdict = "NOT_ENOUGH_DATA" | "NO_WORSE" | "WORSE";

/** What a signal says, with its numbers. */
interface JudgedSignal {
  readonly name: SignalName;
  readonly verdict: HealthVerdict;
  readonly unit: string;
  readonly updatedValue: number;
  readonly controlValue: number;
  readonly updatedHours: number;
  readonly controlHours: number;
  /** Always valid: below its share of alpha it rules chance out. */
  readonly pValue: number;
  /** In words. */
  readonly message: string;
}

/** What all signals together say. */
export interface JudgedHealth {
  readonly verdict: HealthVerdict;
  readonly signals: readonly JudgedSignal[];
  readonly message: string;
}

/** What is stored of a signal. */
export interface SignalEvidence {
  readonly sums: EvidenceSums;
  /** The lowest p-value so far: an always-valid one never rises again. */
  readonly lowestP: number;
}

/** The chance that an effect of the size that counts passes as "no worse", for each signal. */
const beta = 0.1;

/**
 * Judges a rollout's signals. Pure. `alpha` is the chance of a false "worse" over the whole rollout and all signals, which
 * share it evenly (Bonferroni). Signals that no device measures are left out of the verdict.
 */
export function judgeHealth(evidence: ReadonlyMap<SignalName, SignalEvidence>, alpha: number): JudgedHealth {
  const signals = healthSignals.map((signal) =>
    judgeSignal(signal, evidence.get(signal.name) ?? nothingSeen, alpha / healthSignals.length),
  );
  const worse = signals.filter(({ verdict }) => verdict === "WORSE");
  if (worse.length > 0) {
    return { verdict: "WORSE", signals, message: worse.map(({ message }) => message).join("; ") };
  }
  const measured = signals.filter((_, at) => isMeasured(healthSignals[at], evidence));
  const open = measured.filter(({ verdict }) => verdict === "NOT_ENOUGH_DATA");
  if (measured.length === 0 || open.length > 0) {
    const names = open.map(({ name }) => name).join(", ");
    const message = names === "" ? "no updated device was seen yet" : `too little was seen to judge ${names}`;
    return { verdict: "NOT_ENOUGH_DATA", signals, message };
  }
  return { verdict: "NO_WORSE", signals, message: "updated devices do no worse than the others" };
}

/** The always-valid p-value of what was seen. */
export function pValueOf(signal: HealthSignal, sums: EvidenceSums): number {
  const evidence =
    signal.kind === "event"
      ? evidenceOfHarm(sums.logFactors)
      : evidenceOfRise(sums.score, sums.information, signal.noticeable);
  return Math.min(1, 1 / evidence);
}

const nothingSeen: SignalEvidence = { sums: noEvidence, lowestP: 1 };

function isMeasured(
  signal: HealthSignal | undefined,
  evidence: ReadonlyMap<SignalName, SignalEvidence>,
): boolean {
  if (signal === undefined) return false;
  const sums = evidence.get(signal.name)?.sums ?? noEvidence;
  // A device that never tells its battery says nothing about batteries; events are seen of every device.
  return signal.kind === "event" || sums.controlCount > 0 || sums.updatedCount > 0;
}

function judgeSignal(signal: HealthSignal, { sums, lowestP }: SignalEvidence, alpha: number): JudgedSignal {
  const pValue = Math.min(lowestP, pValueOf(signal, sums));
  const verdict = verdictOf(signal, sums, pValue, alpha);
  const shared = {
    name: signal.name,
    verdict,
    unit: signal.unit,
    updatedHours: sums.updatedHours,
    controlHours: sums.controlHours,
    pValue,
  };
  return signal.kind === "event"
    ? { ...shared, ...eventValues(signal, sums) }
    : { ...shared, ...meanValues(signal, sums) };
}

function verdictOf(signal: HealthSignal, sums: EvidenceSums, pValue: number, alpha: number): HealthVerdict {
  if (pValue <= alpha) return "WORSE";
  return isNoWorse(signal, sums) ? "NO_WORSE" : "NOT_ENOUGH_DATA";
}

function isNoWorse(signal: HealthSignal, sums: EvidenceSums): boolean {
  if (signal.kind === "mean") {
    return evidenceAgainstRise(sums.score, sums.information, signal.noticeable) >= 1 / beta;
  }
  const { updatedEvents, updatedHours } = sums;
  return (
    evidenceAgainstHarm(sums.logFactors) >= 1 / beta ||
    evidenceOfRareness(updatedEvents, updatedHours, signal.noticeablePerHour) >= 1 / beta
  );
}

function eventValues({ noun }: EventSignal, sums: EvidenceSums) {
  const { updatedEvents, controlEvents, updatedHours, controlHours } = sums;
  const message = `${noun}: ${updatedEvents} in ${days(updatedHours)} device days on the new version, ${controlEvents} in ${days(controlHours)} on others`;
  return {
    updatedValue: perDay(updatedEvents, updatedHours),
    controlValue: perDay(controlEvents, controlHours),
    message,
  };
}

function meanValues({ noun, unit }: MeanSignal, sums: EvidenceSums) {
  const updatedValue = ratio(sums.updatedSum, sums.updatedCount);
  const controlValue = ratio(sums.controlSum, sums.controlCount);
  const message = `${noun}: changed by ${signed(updatedValue)} ${unit} on ${sums.updatedCount} updated devices, by ${signed(controlValue)} ${unit} on others`;
  return { updatedValue, controlValue, message };
}

function perDay(events: number, hours: number): number {
  return ratio(events, hours) * 24;
}

function ratio(sum: number, count: number): number {
  return count === 0 ? 0 : sum / count;
}

function days(hours: number): string {
  return String(Number((hours / 24).toPrecision(3)));
}

function signed(value: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(2)}`;
}
