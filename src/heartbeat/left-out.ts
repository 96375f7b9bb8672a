import type { LeftOutReading } from "./heartbeat-rules.ts";

/** A reading that was left out, with the heartbeat that it was in. */
export interface NamedLeftOut extends LeftOutReading {
  /** As the device sent it. */
  readonly sequence: bigint;
}

/** What was left out of the heartbeats of a batch: the first ones by name, and all of them in numbers. */
export class LeftOut {
  /** The first ones, {@link maxNamedLeftOut} at most: a device that sends nothing but rubbish must not cost memory. */
  readonly named: NamedLeftOut[] = [];
  /** Of each kind of field how many, and the newest. */
  readonly byField = new Map<string, { count: number; newest: NamedLeftOut }>();
  #count = 0;

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Takes what was left out of a heartbeat. */
  add(sequence: bigint, readings: readonly LeftOutReading[]): void {
    this.#count += readings.length;
    for (const reading of readings) {
      const newest = { sequence, ...reading };
      if (this.named.length < maxNamedLeftOut) this.named.push(newest);
      const field = fieldKind(reading.field);
      const count = (this.byField.get(field)?.count ?? 0) + 1;
      this.byField.set(field, { count, newest });
    }
  }
}

/** The most that one ack names. */
export const maxNamedLeftOut = 64;

/** A field without places and names, of which there are any number: `errors[3].context["x"]` is `errors.context`. */
export function fieldKind(field: string): string {
  return field.replace(/\[".*$/s, "").replaceAll(/\[\d+\]/g, "");
}
