import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { identityViolation, valueViolation, withoutBadValues } from "./heartbeat-rules.ts";

const nowMs = Date.UTC(2026, 0, 15);
const dayMs = 86_400_000;

const good: HeartbeatRecord = {
  deviceId: "0198c0de-0000-7000-8000-000000000001",
  epoch: 1,
  sequence: 1,
  receivedAt: new Date(nowMs),
  firmwareVersion: "1.0.0",
  bootId: "boot",
  uptimeMs: 0,
  securityCounter: 0,
  errors: [],
  metrics: undefined,
};

function fieldOf(change: Partial<HeartbeatRecord>): string | undefined {
  const record = { ...good, ...change };
  return (identityViolation(record) ?? valueViolation(record, nowMs))?.field;
}

/** Each field with values at both ends of what is allowed, and beyond. */
const ranges: readonly (readonly [string, keyof HeartbeatRecord, readonly unknown[], readonly unknown[]])[] =
  [
    ["sequence", "sequence", [0, 1, 2 ** 53 - 1], [2 ** 53, 2 ** 60, Number.NaN]],
    [
      "device_time",
      "deviceTime",
      [new Date("2000-01-01T00:00:00Z"), new Date(nowMs + dayMs)],
      [
        new Date(0),
        new Date("1999-12-31T23:59:59.999Z"),
        new Date(nowMs + dayMs + 1),
        new Date("2100-01-01"),
        new Date(NaN),
      ],
    ],
    [
      "uptime",
      "uptimeMs",
      [0, 2 ** 48, 315_576e9],
      [-1, 315_576e9 + 1_000, Number.NaN, Number.POSITIVE_INFINITY],
    ],
    ["battery_percent", "batteryPercent", [0, 100], [-0.1, 100.1, Number.NaN, Number.POSITIVE_INFINITY]],
    ["cpu_percent", "cpuPercent", [0, 100], [-1, 101, Number.NaN]],
    ["memory_percent", "memoryPercent", [0, 100], [-1, 101, Number.NaN]],
    ["storage_free_bytes", "storageFreeBytes", [0, 2 ** 53 - 1], [2 ** 53, 2 ** 64]],
    ["temperature_celsius", "temperatureCelsius", [-100, 300], [-101, 301, Number.NaN]],
    ["location.latitude", "latitude", [-90, 0, 90], [-90.01, 200, Number.NaN]],
    ["location.longitude", "longitude", [-180, 180], [-181, 181, Number.NEGATIVE_INFINITY]],
    ["location.accuracy_meters", "accuracyMeters", [0, 1e6], [-1, Number.NaN, Number.POSITIVE_INFINITY]],
    [
      "location.altitude_meters",
      "altitudeMeters",
      [-400, 40_000_000],
      [Number.NaN, Number.NEGATIVE_INFINITY],
    ],
    [
      "location.fix_time",
      "fixTime",
      [new Date("2000-01-01T00:00:00Z"), new Date(nowMs + dayMs)],
      [new Date(0), new Date(nowMs + dayMs + 1), new Date(NaN)],
    ],
    ["network.signal_dbm", "signalDbm", [-200, 100], [-201, 101]],
    ["network.carrier", "carrier", ["", "telco"], ["a\0b", "\ud800"]],
    ["firmware_version", "firmwareVersion", ["", "1.0.0-ü😀"], ["1\0", "\udfff", "a\ud83d"]],
    ["boot_id", "bootId", ["", "x"], ["\0"]],
    ["security_counter", "securityCounter", [0, 7], [2 ** 53]],
    ["image_sha256", "imageSha256", [undefined, new Uint8Array(32)], [new Uint8Array(31), new Uint8Array(1)]],
  ];

describe("a reading", () => {
  test.each(ranges)("%s is judged at its limits", (field, property, allowed, refused) => {
    for (const value of allowed) expect(fieldOf({ [property]: value })).toBeUndefined();
    for (const value of refused) expect(fieldOf({ [property]: value })).toBe(field);
  });

  test("that is absent is allowed", () => {
    expect(fieldOf({})).toBeUndefined();
  });
});

describe("errors", () => {
  const error = { code: "E", severity: "INFO", message: "m", stack: "s", fatal: false } as const;

  test("are named by their place", () => {
    expect(fieldOf({ errors: [error] })).toBeUndefined();
    expect(fieldOf({ errors: [error, { ...error, code: "" }] })).toBe("errors[1].code");
    expect(fieldOf({ errors: [{ ...error, message: "\0" }] })).toBe("errors[0].message");
    expect(fieldOf({ errors: [{ ...error, stack: "\ud800" }] })).toBe("errors[0].stack");
  });
});

describe("the context of an error", () => {
  const error = { code: "E", severity: "INFO", message: "m", stack: "s", fatal: false } as const;

  test("has 16 entries at most, with names and values of bounded length", () => {
    const entries = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, "v"]));
    expect(fieldOf({ errors: [{ ...error, context: entries(16) }] })).toBeUndefined();
    expect(fieldOf({ errors: [{ ...error, context: entries(17) }] })).toBe("errors[0].context");
    expect(fieldOf({ errors: [{ ...error, context: { ["n".repeat(65)]: "v" } }] })).toBe("errors[0].context");
    expect(fieldOf({ errors: [{ ...error, context: { "": "v" } }] })).toBe("errors[0].context");
    expect(fieldOf({ errors: [{ ...error, context: { n: "v".repeat(257) } }] })).toBe(
      'errors[0].context["n"]',
    );
    expect(fieldOf({ errors: [{ ...error, context: { n: "\0" } }] })).toBe('errors[0].context["n"]');
  });

  test("names a crash log by its id", () => {
    expect(fieldOf({ errors: [{ ...error, crashLogId: good.deviceId }] })).toBeUndefined();
    expect(fieldOf({ errors: [{ ...error, crashLogId: "../etc/passwd" }] })).toBe("errors[0].crash_log_id");
  });
});

describe("components", () => {
  test("are 16 at most, with plain names, and versions that can be kept", () => {
    const numbered = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`c${n}`, "1.0.0"]));
    expect(fieldOf({ components: numbered(16) })).toBeUndefined();
    expect(fieldOf({ components: numbered(17) })).toBe("components");
    for (const name of ["", "a b", "a/b", "x".repeat(65)]) {
      expect(fieldOf({ components: { [name]: "1.0.0" } })).toBe("components");
    }
    for (const version of [
      "0.0.0",
      "1.2.3-rc.1+build.5",
      "v1.2.3",
      "2024.08.1",
      "34105904",
      "a".repeat(128),
    ]) {
      expect(fieldOf({ components: { app: version } })).toBeUndefined();
    }
    for (const version of ["", "1\0", "a\ud83d", "a".repeat(129)]) {
      expect(fieldOf({ components: { app: version } })).toBe('components["app"]');
    }
  });
});

describe("metrics", () => {
  function numbered(count: number): Record<string, number> {
    return Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
  }

  test("are 64 at most", () => {
    expect(fieldOf({ metrics: numbered(64) })).toBeUndefined();
    expect(fieldOf({ metrics: numbered(65) })).toBe("metrics");
    expect(fieldOf({ metrics: numbered(10_000) })).toBe("metrics");
  });

  test("have plain names and finite values", () => {
    expect(fieldOf({ metrics: { "queue/depth_max-1.p99": 1e300 } })).toBeUndefined();
    for (const name of ["", "a b", "ü", "a\0", "x".repeat(65)])
      expect(fieldOf({ metrics: { [name]: 1 } })).toBe("metrics");
    expect(fieldOf({ metrics: { a: 1, b: Number.NaN } })).toBe('metrics["b"]');
  });
});

test("whatever number comes, what is allowed fits a column of 4 bytes", () => {
  fc.assert(
    fc.property(fc.double(), (altitudeMeters) => {
      const isAllowed = fieldOf({ altitudeMeters }) === undefined;
      expect(isAllowed && !Number.isFinite(Math.fround(altitudeMeters))).toBe(false);
    }),
    { examples: [[3.402_823_6e38], [-3.5e38], [Number.MAX_VALUE], [Number.NaN]] },
  );
});

describe("a heartbeat with bad values", () => {
  const crash = { code: "CRASH", severity: "ERROR", message: "m", stack: "s", fatal: true } as const;
  const told: HeartbeatRecord = {
    ...good,
    batteryPercent: 79,
    latitude: 1,
    longitude: 2,
    altitudeMeters: 3,
    fixTime: new Date(nowMs),
    errors: [crash],
    metrics: { load: 1 },
    components: { app: "1.0.0" },
  };

  function leftOutOf(change: Partial<HeartbeatRecord>) {
    const { record, leftOut } = withoutBadValues({ ...told, ...change }, nowMs);
    expect(valueViolation(record, nowMs)).toBeUndefined();
    return { record, leftOut: leftOut.map(({ field, value }) => [field, value]) };
  }

  test.each([
    ["charge", { batteryPercent: 101 }, "battery_percent", "101"],
    ["temperature", { temperatureCelsius: -127 }, "temperature_celsius", "-127"],
    ["signal", { signalDbm: 2_147_483_647 }, "network.signal_dbm", "2147483647"],
    ["NaN", { cpuPercent: Number.NaN }, "cpu_percent", "NaN"],
    ["time", { deviceTime: new Date(20_000) }, "device_time", "1970-01-01T00:00:20.000Z"],
    ["fix's time", { fixTime: new Date(Date.UTC(4020, 0)) }, "location.fix_time", "4020-01-01T00:00:00.000Z"],
    ["digest", { imageSha256: new Uint8Array(31) }, "image_sha256", ""],
  ] as const)("loses its %s and nothing else", (_what, change, field, value) => {
    const { record, leftOut } = leftOutOf(change);
    expect(leftOut).toEqual([[field, value]]);
    const [property = ""] = Object.keys(change);
    expect(record).toEqual({ ...told, [property]: undefined });
  });

  test("loses all of a position with one wrong coordinate", () => {
    const { record, leftOut } = leftOutOf({ latitude: 91, altitudeMeters: Number.NaN });
    expect(leftOut.map(([field]) => field)).toEqual(["location.latitude", "location.altitude_meters"]);
    expect(record).toMatchObject({ latitude: undefined, longitude: undefined, altitudeMeters: undefined });
    expect(record.fixTime).toBeUndefined();
    expect(leftOutOf({ accuracyMeters: -1 }).record).toMatchObject({ latitude: 1, longitude: 2 });
  });

  test("keeps its crash, whatever is wrong with it", () => {
    const broken = {
      ...crash,
      severity: "7" as "ERROR",
      message: "M\0" + "m".repeat(3_000),
      stack: "\ud800",
      context: { "": "x", name: "v".repeat(300) },
      crashLogId: "none",
    };
    const { record, leftOut } = leftOutOf({ errors: [broken, { ...crash, code: "" }] });
    expect(record.errors).toEqual([
      {
        code: "CRASH",
        severity: "UNSPECIFIED",
        message: `M\ufffd${"m".repeat(1_998)}`,
        stack: "\ufffd",
        fatal: true,
        context: { name: "v".repeat(256) },
        crashLogId: undefined,
      },
    ]);
    expect(leftOut.map(([field]) => field)).toEqual([
      "errors[0].severity",
      "errors[0].message",
      "errors[0].stack",
      "errors[0].context",
      "errors[0].crash_log_id",
      "errors[1].code",
    ]);
  });

  test("keeps its good metrics and components, as many as there may be", () => {
    const metrics = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`m${n}`, n]));
    const { record, leftOut } = leftOutOf({
      metrics: { "a b": 1, bad: Number.POSITIVE_INFINITY, ...metrics },
      components: { app: "", other: "2.0.0" },
    });
    expect(Object.keys(record.metrics ?? {})).toHaveLength(64);
    expect(record.components).toEqual({ other: "2.0.0" });
    expect(leftOut).toEqual([
      ["metrics", "1"],
      ['metrics["bad"]', "Infinity"],
      ["metrics", ""],
      ['components["app"]', ""],
    ]);
  });

  test("names 16 of them at most", () => {
    const metrics = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`m${n}`, Number.NaN]));
    expect(leftOutOf({ metrics }).leftOut).toHaveLength(16);
  });
});
