import { compiled } from "../../infra/compiled.ts";
import {
  type HeldName,
  type HeldProperty,
  heldReadings,
  type Readings,
  type ReadingValue,
} from "./readings.ts";

/** The readings that the service keeps in memory of each device; undefined if it did not tell. */
export type HeldReadings = { readonly [P in HeldProperty]: ReadingValue<P> | undefined };

/** Reads a held reading of a device. */
export function heldReader(name: HeldName): (device: HeldReadings) => HeldReadings[HeldProperty] {
  return readers[name];
}

/** A device that told none. */
export const nothingHeld = Object.fromEntries(
  heldReadings.map(({ property }) => [property, undefined]),
) as HeldReadings;

/** Those of some readings that are told, over those that were held before. */
export const heldOver = compiled<(before: HeldReadings, told: Readings) => HeldReadings>(
  `(before, told) => ({ ${heldReadings.map(({ property }) => `${property}: told.${property} ?? before.${property}`).join(", ")} })`,
);

const readers = Object.fromEntries(
  heldReadings.map(({ name, property }) => [name, compiled(`(device) => device.${property}`)]),
) as Record<HeldName, (device: HeldReadings) => HeldReadings[HeldProperty]>;

/** Held readings that move with a device. */
interface LiveReadings extends HeldReadings {
  /** Takes all readings of a newer heartbeat, also that it does not tell some any more. */
  takeReadings(from: Readings): void;
  /** Takes what is told and keeps the rest. */
  takeTold(from: Readings): void;
}

/** The base of what keeps readings: its properties are declared, so that all devices have one shape. */
export const LiveReadings = compiled<new () => LiveReadings>(`class {
  ${heldReadings.map(({ property }) => `${property} = undefined;`).join("\n  ")}
  takeReadings(from) {
    ${heldReadings.map(taking).join("\n    ")}
  }
  takeTold(from) {
    ${heldReadings.map(({ property }) => `this.${property} = from.${property} ?? this.${property};`).join("\n    ")}
  }
}`);

/** Equal texts are not replaced, so that a device keeps the shared one and not one of every heartbeat. */
function taking({ property, kind }: (typeof heldReadings)[number]): string {
  const take = `this.${property} = from.${property};`;
  return kind === "text" ? `if (this.${property} !== from.${property}) ${take}` : take;
}
