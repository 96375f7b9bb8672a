import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  create,
  type DescField,
  type DescMessage,
  type MessageInitShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, it } from "vitest";
import { RingGateSchema, RolloutPolicySchema } from "../../gen/ota/v1/rollout_pb.js";
import { type Field, type Fields, fillDefaults, isFromSetting } from "./field.ts";
import { gateFields } from "./gate-fields.ts";
import { policyFields } from "./policy-fields.ts";
import {
  fromGateMessage,
  fromPolicyMessage,
  toGateMessage,
  toPolicyMessage,
  wireField,
} from "./policy-messages.ts";

const proto = await readFile(join(import.meta.dirname, "../../proto/ota/v1/rollout.proto"), "utf8");
const validator = createValidator();

describe.each<[string, DescMessage, Fields]>([
  ["policy", RolloutPolicySchema, policyFields],
  ["gate", RingGateSchema, gateFields],
])("the fields of a %s, held against the contract", (_, schema, fields) => {
  it("are those of the contract", () => {
    const names = Object.entries(fields).map(([name, field]) => wireField(schema, name, field).localName);
    expect(names.toSorted()).toEqual(schema.fields.map(({ localName }) => localName).toSorted());
  });

  it.each(Object.entries(fields))("have its kind: %s", (name, field) => {
    expect(typeOf(wireField(schema, name, field))).toBe(wireTypes[field.kind]);
  });

  it.each(Object.entries(fields).filter(([, { range }]) => range !== undefined))(
    "have its range: %s",
    (name, field) => {
      const [least, most] = field.range ?? [];
      const say = field.kind === "bytes" ? BigInt : Number;
      const onWire = wireField(schema, name, field);
      const problem = (value: number) => {
        const init = { [onWire.localName]: onWire.message === undefined ? say(value) : inSeconds(value) };
        return validator.validate(schema, create(schema, init as MessageInitShape<DescMessage>)).kind;
      };
      const step = field.kind === "number" ? 0.00001 : 1;
      expect([least, most].map((limit) => problem(limit ?? Number.NaN))).toEqual(["valid", "valid"]);
      const beyond = [(least ?? 0) - step, (most ?? 0) + step].filter(
        (value) => field.kind !== "bytes" || value > 0,
      );
      expect(beyond.map(problem)).toEqual(beyond.map(() => "invalid"));
    },
  );

  it.each(Object.entries(fields).filter(([, { kind }]) => kind === "choice"))(
    "have its choices: %s",
    (name, field) => {
      const [unspecified, ...others] = wireField(schema, name, field).enum?.values ?? [];
      const [byDefault, ...choices] = Object.keys(field.choices ?? {});
      expect([unspecified?.number, byDefault]).toEqual([0, field.default]);
      expect(choices.toSorted()).toEqual(others.map(({ localName }) => localName).toSorted());
    },
  );

  it.each(Object.entries(fields).filter(([, { kind }]) => kind !== "flag" && kind !== "choice"))(
    "have the default that its manual names: %s",
    (name, field) => {
      const manual = commentOf(schema, wireField(schema, name, field));
      expect(manual.toLowerCase()).toMatch(manualOf(field));
    },
  );
});

describe("a policy on the wire", () => {
  const settingsOfService = { failureThresholdPercent: 12.5, deviceTimeoutMs: 3_600_000 };

  it("comes back as it was, whatever it says", () => {
    const said = {
      failureThresholdPercent: 0,
      verificationMs: 1_500,
      startAt: new Date("2030-01-02T03:04:05Z"),
      maxMeteredBytes: 7,
      pauseOnFailure: true,
      onWorseHealth: "PAUSE",
      rollbackFirmwareId: "0199aaaa-0000-7000-8000-000000000000",
      maintenanceWindows: [{ weekdays: [6], start: "02:00", durationMs: 600_000, timeZone: "" }],
    } as const;
    const windows = said.maintenanceWindows.map((window) => ({ ...window, weekdays: [...window.weekdays] }));
    const message = create(RolloutPolicySchema, toPolicyMessage({ ...said, maintenanceWindows: windows }));
    expect(defined(fromPolicyMessage(message))).toEqual(said);
    expect(defined(fromPolicyMessage(undefined))).toEqual({});
    expect(defined(fromGateMessage(create(RingGateSchema, toGateMessage({ soakMs: 0 }))))).toEqual({
      soakMs: 0,
    });
  });

  it("has every default once it is filled in, those of the service's settings among them", () => {
    const filled = fillDefaults(policyFields, { crashLimit: 7 }, settingsOfService);
    expect(filled).toMatchObject({ ...settingsOfService, crashLimit: 7, storageFactor: 1.5, startAt: null });
    expect(Object.values(filled)).not.toContain(undefined);
    expect(toPolicyMessage(filled)).not.toHaveProperty("offersPerMinute");
  });

  it("keeps the names under which databases have it", () => {
    expect(Object.keys(policyFields)).toEqual(
      expect.arrayContaining(["verificationMs", "deviceTimeoutMs", "retryBackoffMs", "startAt"]),
    );
    expect(Object.keys(gateFields)).toContain("soakMs");
  });
});

const wireTypes: Readonly<Record<Field["kind"], string>> = {
  percent: "DOUBLE",
  number: "DOUBLE",
  count: "INT32",
  bytes: "UINT64",
  flag: "BOOL",
  firmware: "STRING",
  choice: "enum",
  duration: "google.protobuf.Duration",
  time: "google.protobuf.Timestamp",
  windows: "list of ota.v1.MaintenanceWindow",
};

function typeOf(field: DescField): string {
  if (field.fieldKind === "list") return `list of ${field.message?.typeName}`;
  return field.message?.typeName ?? (field.scalar === undefined ? "enum" : (ScalarType[field.scalar] ?? ""));
}

function inSeconds(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: (((ms % 1_000) + 1_000) % 1_000) * 1_000_000 };
}

/** The comment above a field of the contract, in one line. */
function commentOf(schema: DescMessage, { name }: DescField): string {
  const body = proto.slice(proto.indexOf(`\nmessage ${schema.name} {`));
  const comment = new RegExp(`((?:  //[^\\n]*\\n)+)  [^/\\n]* ${name} = \\d+`).exec(body)?.[1] ?? "";
  return comment.replaceAll(/\s*\/\/ ?/g, " ");
}

/** How the contract's comments name a field's default. */
function manualOf({ kind, default: fallback }: Field): RegExp {
  if (isFromSetting(fallback)) return new RegExp(`default: the setting ${fallback.setting.toLowerCase()}`);
  if (fallback === null || typeof fallback === "object") return /default/;
  const text =
    kind === "duration" ? `${Number(fallback) / 60_000} minutes` : Number(fallback).toLocaleString("en");
  return new RegExp(`default:? ${text.replaceAll(".", "\\.")}(?:[.;]|$)`);
}

function defined(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
