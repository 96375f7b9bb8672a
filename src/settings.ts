import { BlockList, isIP } from "node:net";

/** One setting of the service as its documentation shows it. */
export interface SettingDoc {
  /** The environment variable. */
  readonly name: string;
  /** What holds without it, as text; empty if nothing does. */
  readonly default: string;
  /** What it does, in one sentence. */
  readonly meaning: string;
  /** Whether its value must never be shown. */
  readonly secret: boolean;
  /** A variable that others have the same meaning for; it counts where the setting's own is not set. */
  readonly standardName?: string;
}

/** A setting with the way to read it. */
export interface Setting<T> extends SettingDoc {
  /** The value that a text stands for; throws a {@link SettingFault} that says what was expected. */
  parse(text: string): T;
}

/** What a table of settings is read to. */
export type ValuesOf<Table> = { [K in keyof Table]: Table[K] extends Setting<infer T> ? T : never };

/** Says what is wrong with a setting's value, without the value. */
export class SettingFault extends Error {}

/** How often a caller may call. */
export interface RateLimitSetting {
  readonly calls: number;
  readonly periodMs: number;
}

/** Every setting's name begins with this. */
export const settingPrefix = "DEVICE_OTA_";

/** Free text; undefined if it is not set. */
export function text(name: string, meaning: string): Setting<string | undefined> {
  return setting(name, "", meaning, (value) => (value === "" ? undefined : value));
}

/** Text with a default. */
export function textOr(name: string, fallback: string, meaning: string): Setting<string> {
  return setting(name, fallback, meaning, (value) => value);
}

/** A secret that callers will present: long enough not to be guessed, and fit for a header. */
export function secret(name: string, meaning: string): Setting<string | undefined> {
  const parse = (value: string) => {
    if (value === "") return undefined;
    if (/^[!-~]{16,128}$/.test(value)) return value;
    throw new SettingFault("must be 16 to 128 printable ASCII characters without spaces");
  };
  return { ...setting(name, "", meaning, parse), secret: true };
}

/** A secret of somebody else's making. */
export function foreignSecret(name: string, meaning: string): Setting<string | undefined> {
  return { ...text(name, meaning), secret: true };
}

/** A URL with one of the given schemes. It may hold a password. */
export function url(name: string, schemes: readonly string[], meaning: string): Setting<string | undefined> {
  const parse = (value: string) => {
    if (value === "") return undefined;
    if (URL.canParse(value) && schemes.includes(new URL(value).protocol)) return value;
    throw new SettingFault(
      `must be a URL that begins with ${schemes.map((scheme) => `${scheme}//`).join(" or ")}`,
    );
  };
  return { ...setting(name, "", meaning, parse), secret: true };
}

/** A whole number within bounds, both included. */
export function integer(name: string, fallback: number, bounds: Bounds, meaning: string): Setting<number> {
  return setting(name, String(fallback), meaning, (value) => {
    if (/^\d+$/.test(value) && isWithin(Number(value), bounds)) return Number(value);
    throw new SettingFault(`must be a whole number from ${bounds[0]} to ${bounds[1]}`);
  });
}

/** A number within bounds, both included. */
export function decimal(name: string, fallback: string, bounds: Bounds, meaning: string): Setting<number> {
  return setting(name, fallback, meaning, (value) => {
    if (/^\d+(?:\.\d+)?$/.test(value) && isWithin(Number(value), bounds)) return Number(value);
    throw new SettingFault(`must be a number from ${bounds[0]} to ${bounds[1]}`);
  });
}

/** `true` or `false`. */
export function flag(name: string, fallback: boolean, meaning: string): Setting<boolean> {
  return setting(name, String(fallback), meaning, (value) => {
    if (value === "true" || value === "1") return true;
    if (value === "false" || value === "0") return false;
    throw new SettingFault("must be true or false");
  });
}

/** One of a few words. */
export function choice<T extends string>(
  name: string,
  options: readonly T[],
  fallback: NoInfer<T>,
  meaning: string,
): Setting<T> {
  return setting(name, fallback, meaning, (value) => {
    const option = options.find((each) => each === value);
    if (option !== undefined) return option;
    throw new SettingFault(`must be one of ${options.join(", ")}`);
  });
}

/** `100/minute`, or `off` for no limit. */
export function rate(name: string, fallback: string, meaning: string): Setting<RateLimitSetting | undefined> {
  return setting(name, fallback, meaning, (value) => {
    if (value === "off") return undefined;
    const match = /^(?<calls>[1-9]\d{0,8})\/(?<period>second|minute|hour)$/.exec(value)?.groups;
    if (match === undefined) {
      throw new SettingFault(
        "must be a number of calls per second, minute or hour, such as 100/minute, or off",
      );
    }
    return { calls: Number(match["calls"]), periodMs: periodsMs[match["period"] as keyof typeof periodsMs] };
  });
}

/** Web origins, separated by commas. */
export function origins(name: string, meaning: string): Setting<readonly string[]> {
  return setting(name, "", meaning, (value) => {
    const listed = listOf(value);
    if (listed.every((each) => URL.canParse(each) && new URL(each).origin === each)) return listed;
    throw new SettingFault("must be origins such as https://console.example.com, separated by commas");
  });
}

/** IP addresses and networks in CIDR notation, separated by commas. */
export function networks(name: string, meaning: string): Setting<BlockList> {
  return setting(name, "", meaning, (value) => {
    const listed = new BlockList();
    for (const each of listOf(value)) addNetwork(listed, each);
    return listed;
  });
}

/** What stands between commas, but for nothing. */
export function listOf(value: string): readonly string[] {
  return value
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "");
}

function addNetwork(list: BlockList, text: string): void {
  const [address = "", length, ...rest] = text.split("/");
  const family = isIP(address);
  const bits = family === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : Number(length);
  const isPrefix = length === undefined || (/^\d{1,3}$/.test(length) && prefix <= bits);
  if (family === 0 || !isPrefix || rest.length > 0) {
    throw new SettingFault(
      "must be addresses or networks such as 10.0.0.0/8 or 192.0.2.7, separated by commas",
    );
  }
  list.addSubnet(address, prefix, family === 4 ? "ipv4" : "ipv6");
}

type Bounds = readonly [least: number, most: number];

const periodsMs = { second: 1_000, minute: 60_000, hour: 3_600_000 };

/** A setting that is read by a function of its own. */
export function setting<T>(
  name: string,
  fallback: string,
  meaning: string,
  parse: (value: string) => T,
): Setting<T> {
  return { name: `${settingPrefix}${name}`, default: fallback, meaning, secret: false, parse };
}

function isWithin(value: number, [least, most]: Bounds): boolean {
  return value >= least && value <= most;
}
