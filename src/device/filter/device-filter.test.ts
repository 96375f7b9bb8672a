import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OtaError } from "../../errors.ts";
import { fieldComparators } from "../../filter/filter.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { FilterableDevice } from "../state/filterable-device.ts";
import { nothingHeld } from "../state/held-readings.ts";
import { type DeviceFilter, parseDeviceFilter } from "./device-filter.ts";
import { deviceFilterFields } from "./filter-fields.ts";
import { compileFilterPredicate } from "./filter-predicate.ts";
import { compileFilterSql } from "./filter-sql.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");
const heartbeatIntervalMs = 60_000;

const device: FilterableDevice = {
  ...nothingHeld,
  id: "019a0000-0000-7000-8000-000000000001",
  serialNumber: "SN-0042",
  deviceType: "thermostat",
  hardwareModel: "tx-200",
  product: "os",
  displayName: "Lobby East",
  groups: ["berlin", "beta"],
  tags: ["lab"],
  metadata: { site: "hq", "my key": "x" },
  updatePin: "none",
  standing: "admitted",
  cloneSuspectedAtMs: undefined,
  createdAtMs: nowMs - 1_000,
  firmwareVersion: "1.10.0-rc.1",
  components: { app: "2.0.0" },
  lastSeenAtMs: nowMs - 120_000,
  expectedIntervalMs: undefined,
  batteryPercent: 15,
  storageFreeBytes: 1_000,
  temperatureCelsius: -5,
  networkType: "WIFI",
  signalDbm: -90,
  securityCounter: 3,
  clockVerdict: "OFF",
  faultTimes: { refused: nowMs - 60_000 },
};

function matches(filter: string, other: Partial<FilterableDevice> = {}): boolean {
  return compileFilterPredicate(parseDeviceFilter(filter), { heartbeatIntervalMs })(
    { ...device, ...other },
    nowMs,
  );
}

describe("parseDeviceFilter", () => {
  it.each([
    "",
    "  ",
    "lobby",
    "sn-0042",
    '"Lobby East"',
    "device_type = thermostat",
    'device_type = "therm*" hardware_model = *200',
    "groups:berlin AND -groups:hamburg",
    "NOT groups:hamburg tags:la*",
    'metadata.site = hq metadata.site:* metadata:site metadata."my key" = x',
    "battery_percent < 20 AND temperature_celsius = -5 AND signal_dbm<=-90",
    "firmware_version < 1.10.0 AND firmware_version > 1.9.9 AND firmware_version = 1.10.*",
    "components.app >= 2.0.0",
    "presence = LATE AND presence != PRESENCE_ONLINE",
    "update_pin = UNSPECIFIED AND network_type = WIFI",
    "last_seen_time < ago(1m) AND last_seen_time > ago(1h)",
    'create_time >= "2025-12-31T23:59:59Z" AND create_time < "2026-01-01T00:00:00+00:00"',
    "clock_verdict = OFF AND clock_verdict != CLOCK_VERDICT_UNSET",
    "heartbeat_refused_time > ago(1h) AND heartbeat_refused_time:*",
    "NOT heartbeat_repeated_time:* AND NOT reading_left_out_time < ago(1s)",
    "id = 019A0000-0000-7000-8000-000000000001",
    // OR binds tighter than AND.
    "device_type = thermostat OR groups:x AND groups:berlin",
    "groups:berlin AND groups:x OR groups:beta",
    // What is not told matches no comparison, and NOT of one therefore matches.
    "NOT charging = true",
    "NOT cpu_percent != 5",
  ])("matches the device with %s", (filter) => {
    expect(matches(filter)).toBe(true);
  });

  it.each([
    "hamburg",
    "charging = true",
    "charging != true",
    "cpu_percent != 5",
    "carrier != x",
    "carrier:*",
    "firmware_version >= 1.10.0",
    "groups:ber",
    "device_type = THERMOSTAT",
    "device_type = x OR groups:beta AND groups:x",
    "metadata.constructor:*",
    "components.toString:*",
    "last_seen_time > ago(1m)",
  ])("does not match the device with %s", (filter) => {
    expect(matches(filter)).toBe(false);
  });

  it("reads stars, quotes and escapes as they are meant", () => {
    expect(matches('display_name = "a\\*b\\"c"', { displayName: 'a*b"c' })).toBe(true);
    expect(matches('display_name = "a\\*b*"', { displayName: "a*bcd" })).toBe(true);
    expect(matches("display_name = 'it is'", { displayName: "it is" })).toBe(true);
    expect(matches("display_name:EAST")).toBe(true);
    expect(matches("display_name = *EAST")).toBe(false);
  });

  it.each([
    ["colour = red", 1, 'unknown field "colour"; the fields are id, serial_number'],
    ["battery_percent < low", 19, 'expected a number, found "low"'],
    ["battery_percent <", 18, "expected a value behind <, found the end"],
    ["groups = berlin", 10, 'groups cannot be compared with =: use :, for example groups:"a name"'],
    ["groups:a AND", 13, "expected a field, a text or an opening bracket, found the end"],
    ["(groups:a", 10, 'expected ")", found the end'],
    ["groups:a)", 9, 'this ")" closes nothing'],
    ["charging", 1, "charging is a field: compare it, for example with charging = true"],
    ["charging = yes", 12, 'expected true or false, found "yes"'],
    ["presence = AWAY", 12, "expected one of UNKNOWN, ONLINE, LATE, OFFLINE"],
    ["firmware_version > 1.2", 20, "expected a semantic version such as 1.4.0"],
    ["firmware_version > 1.*", 20, "expected a semantic version such as 1.4.0"],
    ["last_seen_time < yesterday", 18, "expected a time such as"],
    ["last_seen_time < ago(7)", 18, "expected a number of s, m, h or d"],
    ["last_seen_time < before(7d)", 18, "unknown function before; there is only ago"],
    ["battery_percent < ago(7d)", 19, "functions are only for times"],
    ['display_name = "open', 16, 'the text that begins here has no closing "'],
    ["device_type = a*b", 16, 'a "*" may stand only at the ends of a text'],
    ["metadata = x", 1, "expected a name behind metadata"],
    ["device_type.x = y", 13, "device_type has no fields of its own"],
    ["battery_percent ! 3", 17, 'expected "=" after "!"'],
    ["id = 42", 6, "expected a UUID"],
    ["groups:(a OR b)", 8, 'write several as "field = a OR field = b"'],
    ["a\0b", 2, "NUL"],
  ])("refuses %j and says where and why", (filter, position, problem) => {
    const fault = faultOf(filter);
    expect(fault).toMatchObject({
      code: "invalid_argument",
      reason: "INVALID_FILTER",
      metadata: { field: "filter", position: String(position) },
    });
    expect(fault.message).toContain(problem);
  });

  it("refuses what is long or nested beyond reason", () => {
    expect(faultOf("a ".repeat(1_001)).message).toContain("more than 2000 characters");
    expect(faultOf(`${"(".repeat(21)}a${")".repeat(21)}`).message).toContain("nested more than 20 deep");
    expect(faultOf(`${"-(".repeat(11)}a${")".repeat(11)}`).message).toContain("nested");
    expect(faultOf("a ".repeat(101)).message).toContain("at most 100 times");
  });

  it("reads any text or refuses it with INVALID_FILTER, and puts none of it into SQL", () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom(
        " ",
        "AND ",
        "OR ",
        "NOT ",
        "(",
        ")",
        "=",
        "<",
        ":",
        "groups",
        "metadata.",
        '"',
        "*",
        "-",
        "ago(",
        "1.2",
        "\\",
      ),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const filter = parsedOrRefused(pieces.join(""));
        if (filter === undefined) return;
        const { text } = compileFilterSql(filter, new Parameters(), { nowMs, heartbeatIntervalMs });
        expect(text).toMatch(/^[\w\s().$:<>=,'"@^{}?*|[\]-]*$/);
        compileFilterPredicate(filter, { heartbeatIntervalMs })(device, nowMs);
      }),
      { numRuns: 2_000 },
    );
  });

  it("adds its parameters to those that are there", () => {
    const parameters = new Parameters();
    parameters.add("before", "text");
    const filter = parseDeviceFilter("groups:a battery_percent < 20");
    const { text } = compileFilterSql(filter, parameters, { nowMs, heartbeatIntervalMs });
    expect(text).toContain("$2::text");
    expect(text).toContain("$3::double precision");
    expect(parameters.values).toEqual(["before", "a", 20]);
  });
});

describe("the filter language's manual", () => {
  it("describes every field as the catalogue does", () => {
    const manual = readFileSync(join(import.meta.dirname, "../../../docs/filters.md"), "utf8");
    const rows = manual
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.split("|").map((cell) => cell.trim()))
      .map(([, name, kind, comparators, description]) => ({ name, kind, comparators, description }));
    expect(rows).toEqual(
      deviceFilterFields.map(({ name, kind, description, values }) => ({
        name: kind.endsWith("_map") ? `\`${name}.<name>\`` : `\`${name}\``,
        kind: kind.replace("_", " "),
        comparators: fieldComparators[kind].map((each) => `\`${each}\``).join(" "),
        description:
          values === undefined
            ? description
            : `${description} ${values.map((each) => `\`${each}\``).join(", ")}`,
      })),
    );
  });
});

function faultOf(filter: string): OtaError {
  try {
    parseDeviceFilter(filter);
  } catch (error) {
    if (error instanceof OtaError) return error;
    throw error;
  }
  throw new Error(`${filter} was read`);
}

/** Undefined if the text was refused as a filter; any other failure is one of the test. */
function parsedOrRefused(text: string): DeviceFilter | undefined {
  try {
    return parseDeviceFilter(text);
  } catch (error) {
    if (error instanceof OtaError && error.reason === "INVALID_FILTER") return undefined;
    throw error;
  }
}
