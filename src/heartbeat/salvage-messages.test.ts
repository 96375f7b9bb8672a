import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { SendHeartbeatRequestSchema } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { callSalvage } from "./salvage-messages.ts";
import { unreadOf } from "./unread-values.ts";

/** How often others got their turn while something was done. */
async function turnsDuring<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly turns: number }> {
  let turns = 0;
  let next: NodeJS.Immediate;
  const count = () => {
    turns++;
    next = setImmediate(count);
  };
  next = setImmediate(count);
  try {
    return { result: await work(), turns };
  } finally {
    clearImmediate(next);
  }
}

describe("a message of nothing but heartbeats that cannot be read", () => {
  const beats = 500;

  it("lets others have their turn after each of them, in JSON", async () => {
    const heartbeats = Array.from({ length: beats }, (_, at) => ({
      sequence: at + 1,
      metrics: { a: {}, b: "many" },
    }));
    const { result, turns } = await turnsDuring(() =>
      callSalvage.fromJson({ heartbeats }, { ignoreUnknownFields: false }),
    );
    expect(result?.heartbeats).toHaveLength(beats);
    expect(turns).toBeGreaterThanOrEqual(beats - 1);
  });

  it("lets others have their turn after each of them, in bytes", async () => {
    // A text that is not UTF-8 in each.
    const broken = new BinaryWriter();
    broken.raw(toBinary(HeartbeatSchema, create(HeartbeatSchema, { sequence: 7n })));
    broken.tag(HeartbeatSchema.field.bootId.number, WireType.LengthDelimited).bytes(Uint8Array.of(0xff));
    const bytes = broken.finish();
    const message = new BinaryWriter();
    const { number } = SendHeartbeatRequestSchema.field.heartbeats;
    for (let n = 0; n < beats; n++) message.tag(number, WireType.LengthDelimited).bytes(bytes);
    const { result, turns } = await turnsDuring(() => callSalvage.fromBinary(message.finish()));
    expect(result?.heartbeats.every(({ sequence }) => sequence === 7n)).toBe(true);
    expect(turns).toBeGreaterThanOrEqual(beats - 1);
  });
});

describe("what is looked at one by one", () => {
  it("is bounded in a heartbeat: of a million fields the first few hundred count", async () => {
    const field = HeartbeatSchema.field.charging.number;
    const beat = new BinaryWriter();
    for (let n = 0; n < 900_000; n++) beat.tag(field, WireType.Varint).bool(true);
    beat.tag(HeartbeatSchema.field.bootId.number, WireType.LengthDelimited).bytes(Uint8Array.of(0xff));
    const message = new BinaryWriter();
    const { number } = SendHeartbeatRequestSchema.field.heartbeats;
    message.tag(number, WireType.LengthDelimited).bytes(beat.finish());
    const request = await callSalvage.fromBinary(message.finish());
    // The field that is broken comes behind what is looked at, so nobody knows its name.
    expect(unreadOf(request?.heartbeats ?? [])?.get(0)?.refusal).toMatchObject({ field: "" });
  });

  it("is bounded in a message: more heartbeats than there may be refuse it", async () => {
    const message = new BinaryWriter();
    const { number } = SendHeartbeatRequestSchema.field.heartbeats;
    for (let n = 0; n < 900_000; n++) message.tag(number, WireType.LengthDelimited).bytes(new Uint8Array());
    expect(await callSalvage.fromBinary(message.finish())).toBeUndefined();
  });

  it("is bounded in JSON: what comes then is kept with nothing but what it is known by", async () => {
    const metrics = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`m${at}`, {}]));
    const heartbeats = Array.from({ length: 40 }, (_, at) => ({
      sequence: at + 1,
      batteryPercent: 50,
      bootId: "b",
      metrics,
    }));
    const request = await callSalvage.fromJson({ heartbeats }, { ignoreUnknownFields: false });
    const last = request?.heartbeats.at(-1);
    expect(last).toMatchObject({ sequence: 40n, bootId: "b" });
    expect(last?.batteryPercent).toBeUndefined();
    expect(request?.heartbeats[0]?.batteryPercent).toBe(50);
    const unread = unreadOf(request?.heartbeats ?? []);
    expect(unread?.get(39)?.values).toMatchObject([{ field: "heartbeat" }]);
    const noted = [...(unread?.values() ?? [])].reduce((sum, { values }) => sum + values.length, 0);
    expect(noted).toBeLessThan(2_700);
  });
});
