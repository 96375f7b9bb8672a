import type { Field, Fields, Given, MaintenanceWindow } from "./field.ts";

/** How a reader of fields writes its values: the command line and the console differ in units and grouping. */
export interface ValueWriters {
  percent(value: number): string;
  /** Numbers that are not shares. */
  number(value: number): string;
  durationMs(value: number): string;
  bytes(value: number): string;
  time(value: Date): string;
}

/** The days of the week, Monday first. */
export const weekdayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

/** A value of a field in words, for example `10 min`. */
export function fieldText({ kind, choices }: Field, value: unknown, write: ValueWriters): string {
  switch (kind) {
    case "percent":
      return write.percent(value as number);
    case "count":
    case "number":
      return write.number(value as number);
    case "duration":
      return write.durationMs(value as number);
    case "bytes":
      return write.bytes(value as number);
    case "time":
      return write.time(value as Date);
    case "choice":
      return choices?.[value as string] ?? String(value);
    case "windows":
      return (value as readonly MaintenanceWindow[]).map((window) => windowText(window, write)).join("; ");
    case "flag":
    case "firmware":
      return String(value);
  }
}

/** A field that was told: its title, and its value in words. */
export interface ToldField {
  readonly name: string;
  readonly field: Field;
  readonly title: string;
  readonly words: string;
}

/** Those fields of which there is something to tell, in the order of the table. */
export function tellFields<F extends Fields>(fields: F, given: Given<F>, write: ValueWriters): ToldField[] {
  const values: Readonly<Record<string, unknown>> = given;
  return Object.entries<Field>(fields).flatMap(([name, field]) => {
    const words = fieldWords(field, values[name], write);
    return words === undefined ? [] : [{ name, field, title: field.told[0], words }];
  });
}

function fieldWords(field: Field, value: unknown, write: ValueWriters): string | undefined {
  const isUnset = value === undefined || value === false;
  if (field.toldNone !== undefined && (isUnset || value === 0)) return field.toldNone;
  return isUnset ? undefined : field.told[1].replace("{}", () => fieldText(field, value, write));
}

/** `Sat, Sun at 02:00 for 3 h (Europe/Berlin)`. */
function windowText(
  { weekdays, start, durationMs, timeZone }: MaintenanceWindow,
  write: ValueWriters,
): string {
  const days = weekdays.length === 0 ? "daily" : weekdays.map((day) => weekdayNames[day - 1]).join(", ");
  return `${days} at ${start} for ${write.durationMs(durationMs)} (${timeZone || "UTC"})`;
}
