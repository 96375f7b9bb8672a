/** What updated devices are compared by; names as in the contract's HealthSignal. */
export type SignalName =
  | "crash_rate"
  | "reboot_rate"
  | "heartbeat_loss"
  | "battery_drain"
  | "cpu_percent"
  | "memory_percent";

/** A signal that is an event of a device: its first in the rollout counts. */
export interface EventSignal {
  readonly kind: "event";
  readonly name: SignalName;
  /** For people. */
  readonly noun: string;
  readonly unit: string;
  /** Rates below this are no harm that counts, whatever the ratio: events per device hour. */
  readonly noticeablePerHour: number;
}

/** A signal that is a reading of a device: how it changes counts. */
export interface MeanSignal {
  readonly kind: "mean";
  readonly name: SignalName;
  readonly noun: string;
  readonly unit: string;
  /** A rise from which on it counts, in its unit. */
  readonly noticeable: number;
}

export type HealthSignal = EventSignal | MeanSignal;

/** One event in twenty device days. */
const noticeablePerHour = 1 / (20 * 24);

/** The events, in the order of the bits of a device's state. */
export const eventSignals: readonly EventSignal[] = [
  {
    kind: "event",
    name: "crash_rate",
    noun: "devices crashed",
    unit: "first crashes per device day",
    noticeablePerHour,
  },
  {
    kind: "event",
    name: "reboot_rate",
    noun: "devices rebooted",
    unit: "first reboots per device day",
    noticeablePerHour,
  },
  {
    kind: "event",
    name: "heartbeat_loss",
    noun: "devices fell silent",
    unit: "first silences per device day",
    noticeablePerHour,
  },
];

/** The readings, in the order in which a device's means are kept. */
export const meanSignals: readonly MeanSignal[] = [
  { kind: "mean", name: "battery_drain", noun: "battery drain", unit: "% per hour", noticeable: 1 },
  { kind: "mean", name: "cpu_percent", noun: "processor load", unit: "%", noticeable: 5 },
  { kind: "mean", name: "memory_percent", noun: "memory in use", unit: "%", noticeable: 5 },
];

export const healthSignals: readonly HealthSignal[] = [...eventSignals, ...meanSignals];
