import { create, type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { describe, expect, it } from "vitest";
import { ListAuditEventsRequestSchema } from "../../../gen/ota/v1/access_service_pb.js";
import { DeviceToCreateSchema } from "../../../gen/ota/v1/device_service_pb.js";
import { HeartbeatSchema } from "../../../gen/ota/v1/heartbeat_pb.js";
import { SendHeartbeatRequestSchema } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import { CreateRolloutRequestSchema } from "../../../gen/ota/v1/rollout_service_pb.js";
import { CheckForUpdateRequestSchema } from "../../../gen/ota/v1/update_service_pb.js";
import { contractServices } from "./endpoint-table.ts";
import { ResourceUpdate } from "./resource-update.ts";
import { ValueRules } from "./value-rules.ts";

const rules = new ValueRules();

describe("a time", () => {
  const fieldsOf = (seconds: bigint, nanos = 0) =>
    rules
      .violations(
        ListAuditEventsRequestSchema,
        create(ListAuditEventsRequestSchema, { startTime: { seconds, nanos } }),
      )
      .map(({ field }) => field);

  it.each([
    ["the first second of year 1", -62_135_596_800n, 0],
    ["the last nanosecond of year 9999", 253_402_300_799n, 999_999_999],
  ])("may be %s", (_, seconds, nanos) => {
    expect(fieldsOf(seconds, nanos)).toEqual([]);
  });

  it.each([
    ["before year 1", -62_135_596_801n, 0],
    ["in year 10000", 253_402_300_800n, 0],
    ["of negative nanoseconds", 0n, -1],
    ["of a thousand million nanoseconds", 0n, 1_000_000_000],
    ["the largest number there is", 2n ** 63n - 1n, 0],
  ])("may not be %s", (_, seconds, nanos) => {
    expect(fieldsOf(seconds, nanos)).toEqual(["start_time"]);
  });
});

describe("a duration", () => {
  const fieldsOf = (seconds: bigint, nanos = 0) =>
    rules
      .violations(
        CreateRolloutRequestSchema,
        create(CreateRolloutRequestSchema, { rings: [{}, { gate: { soakDuration: { seconds, nanos } } }] }),
      )
      .map(({ field }) => field);

  it("may have 10,000 years of either sign", () => {
    expect([...fieldsOf(315_576_000_000n), ...fieldsOf(-315_576_000_000n, -1)]).toEqual([]);
  });

  it.each([
    [315_576_000_001n, 0],
    [1n, -1],
    [-1n, 1],
    [0n, 1_000_000_000],
  ])("may not be %d s and %d ns", (seconds, nanos) => {
    expect(fieldsOf(seconds, nanos)).toEqual(["rings[1].gate.soak_duration"]);
  });
});

describe("other values", () => {
  it("are named by their path, keys and entries of maps as well", () => {
    const request = create(CheckForUpdateRequestSchema, {
      firmwareVersion: "1.0.0\0",
      components: { ui: "\ud800", "a\0": "1.0.0" },
      batteryPercent: Number.NaN,
      storageFreeBytes: 2n ** 53n,
    });
    expect(
      rules
        .violations(CheckForUpdateRequestSchema, request)
        .map(({ field }) => field)
        .toSorted(),
    ).toEqual([
      "battery_percent",
      "components",
      'components["ui"]',
      "firmware_version",
      "storage_free_bytes",
    ]);
  });

  it("that are enums must be of the contract", () => {
    const request = create(CreateRolloutRequestSchema, { policy: { onWorseHealth: 99 as never } });
    expect(rules.violations(CreateRolloutRequestSchema, request)).toEqual([
      { field: "policy.on_worse_health", description: "has no value 99" },
    ]);
  });

  it("of heartbeats are left to the rules that refuse one heartbeat alone", () => {
    const request = create(SendHeartbeatRequestSchema, { heartbeats: [{ firmwareVersion: "\0" }] });
    expect(rules.violations(SendHeartbeatRequestSchema, request)).toEqual([]);
  });
});

describe("the contract", () => {
  it("bounds every text of every request", () => {
    const unbounded = new Set<string>();
    for (const { methods } of contractServices)
      for (const { input } of methods) collectUnbounded(input, unbounded, new Set());
    expect([...unbounded]).toEqual([]);
  });
});

/** They have rules of their own, which refuse one and let its neighbours in. */
const refusedAlone = new Set<DescMessage>([HeartbeatSchema, DeviceToCreateSchema]);

function collectUnbounded(message: DescMessage, found: Set<string>, seen: Set<DescMessage>): void {
  const isOurs = message.typeName.startsWith("ota.") && !refusedAlone.has(message);
  if (seen.has(message) || !isOurs) return;
  seen.add(message);
  // Of a resource that is written back only what the request's own fields can say is taken.
  const writtenBack = ResourceUpdate.of(message)?.resource;
  for (const each of message.fields) {
    if (each === writtenBack) continue;
    if (each.message !== undefined) collectUnbounded(each.message, found, seen);
    else if (each.scalar === ScalarType.STRING && !isBounded(each)) found.add(`${message.name}.${each.name}`);
  }
}

function isBounded(each: DescField): boolean {
  const { type } = getOption(each, fieldRules);
  const item =
    type.case === "repeated" ? type.value.items?.type : type.case === "map" ? type.value.values?.type : type;
  if (item?.case !== "string") return false;
  const { maxLen, maxBytes, len, wellKnown, pattern, in: choices } = item.value;
  return (
    maxLen > 0n ||
    maxBytes > 0n ||
    len > 0n ||
    wellKnown.case !== undefined ||
    /^\^[^*+]+\$$/.test(pattern) ||
    choices.length > 0
  );
}
