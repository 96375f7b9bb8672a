/** What a field of a rollout's policy or of a ring's gate can hold, by the field's kind. */
interface FieldValues {
  /** From 0 to 100. */
  percent: number;
  /** A whole number. */
  count: number;
  /** Any number. */
  number: number;
  /** Milliseconds. */
  duration: number;
  bytes: number;
  flag: boolean;
  time: Date;
  /** One of the field's `choices`. */
  choice: string;
  /** A firmware's id. */
  firmware: string;
  windows: readonly MaintenanceWindow[];
}

/** A time of the week at which devices may be updated. */
export interface MaintenanceWindow {
  /** Days on which it begins, 1 for Monday to 7 for Sunday; empty means every day. */
  readonly weekdays: number[];
  /** `HH:MM` in the time zone. */
  readonly start: string;
  readonly durationMs: number;
  /** IANA name; empty means UTC. */
  readonly timeZone: string;
}

/** The groups in which the command line's help and the console's form show the fields of a policy. */
export const fieldGroups = {
  when: { title: "When", hint: "start, maintenance windows, priority" },
  pace: { title: "How fast", hint: "limits" },
  device: { title: "What a device must allow", hint: "metered networks, storage, consent, downgrade" },
  failure: { title: "When it fails", hint: "retries, crash limit, health, where to go back to" },
  proof: { title: "How a device proves itself", hint: "times" },
} as const;

/**
 * One field of a rollout's policy or of a ring's gate, as service, command line and console know it. Its name in the table
 * is the one under which it is stored.
 */
export interface Field {
  readonly kind: keyof FieldValues;
  /** Its name in the contract (in lower camel case), if that is another one. */
  readonly wire?: string;
  /** What holds if nothing is said; null if nothing does (no limit, at once), or the setting of the service that says it. */
  readonly default: number | boolean | string | null | readonly never[] | FromSetting;
  /** The least and the most that may be given, as the contract says. */
  readonly range?: readonly [least: number, most: number];
  /** What a choice can be, in words, by the contract's names; the default first. */
  readonly choices?: Readonly<Record<string, string>>;
  /** The command line's option, for example `--crash-limit <count>`. */
  readonly option: string;
  /** What the option does; its range and its default are added. */
  readonly help: string;
  /** The name of its input in the console. */
  readonly label: string;
  /** What the input's label leaves open. */
  readonly hint?: string;
  /** The unit in which the console takes it. */
  readonly unit?: "min" | "h" | "MiB";
  /** By how much the console's arrows change it. */
  readonly step?: number;
  /** Where a policy's field is shown; a gate's fields stand at their ring. */
  readonly group?: keyof typeof fieldGroups;
  /** Whether operators should see it without looking for it. */
  readonly inFront?: true;
  /** How it is told: a title, and words in which `{}` stands for the value. */
  readonly told: readonly [title: string, words: string];
  /** The words for 0, no, or nothing; otherwise 0 is told like any number, and the others are not told. */
  readonly toldNone?: string;
}

/** Says that a default comes from a setting of the service. */
export interface FromSetting {
  /** The environment variable. */
  readonly setting: string;
}

/** The fields of a policy or of a gate by their names. */
export type Fields = Readonly<Record<string, Field>>;

/** What a field holds. */
type Value<F extends Field> = F extends { readonly choices: Readonly<Record<infer Choice, string>> }
  ? Choice
  : FieldValues[F["kind"]];

/** What somebody said of some fields; the others take their defaults. */
export type Given<F extends Fields> = { readonly [Name in keyof F]?: Value<F[Name]> | undefined };

/** All fields, as stored: times as ISO 8601, and null where nothing holds. */
export type Filled<F extends Fields> = {
  [Name in keyof F]: Stored<F[Name]> | (null extends F[Name]["default"] ? null : never);
};

type Stored<F extends Field> = F["kind"] extends "time"
  ? string
  : F["kind"] extends "windows"
    ? MaintenanceWindow[]
    : Value<F>;

/** The defaults that the service's settings give. */
export type SettingDefaults<F extends Fields> = {
  readonly [Name in keyof F as F[Name]["default"] extends FromSetting ? Name : never]: Value<F[Name]>;
};

/** All fields: what was given, and the defaults for the rest. */
export function fillDefaults<F extends Fields>(
  fields: F,
  given: Given<F>,
  settings: SettingDefaults<F>,
): Filled<F> {
  const fallbacks: Readonly<Record<string, unknown>> = settings;
  return mapFields(fields, (name, field) => {
    const value = given[name] ?? (isFromSetting(field.default) ? fallbacks[name] : field.default);
    return value instanceof Date ? value.toISOString() : value;
  }) as Filled<F>;
}

/** An object with what a function makes of each field, in the order of the table. */
export function mapFields<T>(
  fields: Fields,
  make: (name: string, field: Field) => T,
): { readonly [name: string]: T } {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, make(name, field)]));
}

/** The fields of a table that something holds for. */
export function fieldsWhere(fields: Fields, holds: (field: Field) => boolean): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, field]) => holds(field)));
}

/** Whether a field's default comes from a setting. */
export function isFromSetting(value: Field["default"]): value is FromSetting {
  return typeof value === "object" && value !== null && "setting" in value;
}
