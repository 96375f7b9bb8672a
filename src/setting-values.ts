import { type Setting, type SettingDoc, SettingFault, settingPrefix, type ValuesOf } from "./settings.ts";

/** Environment variables, as a process has them. */
type Environment = Readonly<Record<string, string | undefined>>;

/** A setting that is in force, as text without secrets. */
export interface SettingValue {
  readonly name: string;
  /** `(set)` for a secret that is set. */
  readonly value: string;
  readonly defaultValue: string;
  readonly set: boolean;
  readonly description: string;
}

/** Reads each setting of a table for itself. Undefined if any has a fault; the faults are added, without secrets. */
export function readValues<Table extends Readonly<Record<string, Setting<unknown>>>>(
  table: Table,
  env: Environment,
  faults: string[],
): ValuesOf<Table> | undefined {
  const values: Record<string, unknown> = {};
  const before = faults.length;
  for (const [key, setting] of Object.entries(table)) {
    const given = givenOf(env, setting);
    try {
      values[key] = setting.parse(given === "" ? setting.default : given);
    } catch (error) {
      if (!(error instanceof SettingFault)) throw error;
      const shown = setting.secret ? "" : `, not ${JSON.stringify(given.slice(0, 100))}`;
      faults.push(`${setting.name}: ${error.message}${shown}`);
    }
  }
  return faults.length === before ? (values as ValuesOf<Table>) : undefined;
}

/** The faults of names that look like settings and are none: they are misspelt. */
export function unknownNames(settings: readonly SettingDoc[], env: Environment): string[] {
  const known = new Set(settings.map(({ name }) => name));
  return Object.keys(env)
    .filter((name) => name.startsWith(settingPrefix) && !name.startsWith(testPrefix) && !known.has(name))
    .toSorted()
    .map((name) => `${name}: there is no such setting`);
}

/** What is in force, by name. */
export function shownValues(settings: readonly SettingDoc[], env: Environment): SettingValue[] {
  return settings
    .map((setting) => {
      const { name, default: defaultValue, meaning, secret } = setting;
      const given = givenOf(env, setting);
      const set = given !== "";
      const value = set ? (secret ? "(set)" : given) : defaultValue;
      return { name, value, defaultValue, set, description: meaning };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Names that only tests give a meaning to. */
const testPrefix = `${settingPrefix}TEST_`;

function givenOf(env: Environment, { name, standardName }: SettingDoc): string {
  const own = env[name]?.trim() ?? "";
  return own === "" && standardName !== undefined ? (env[standardName]?.trim() ?? "") : own;
}
