import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isNewer, LiveDevice, SharedTexts } from "./device-snapshot.ts";

function device(): LiveDevice {
  return new LiveDevice(
    {
      id: "d1",
      deviceType: "thermostat",
      serialNumber: "SN-1",
      hardwareModel: "tx-200",
      displayName: "",
      tags: [],
      metadata: {},
      updatePin: "none",
      standing: "admitted",
      cloneSuspectedAtMs: undefined,
      createdAtMs: 0,
      expectedIntervalMs: undefined,
      faultTimes: {},
      groups: [],
      retired: false,
      product: "",
      enrolmentKeyId: undefined,
      enrolledVersion: "1.0.0",
    },
    0,
  );
}

const readings = fc.array(
  fc.record({
    epoch: fc.nat(3),
    sequence: fc.nat(20),
    receivedAt: fc.date({ noInvalidDate: true }),
    firmwareVersion: fc.constantFrom("1.0.0", "1.1.0"),
    bootId: fc.constantFrom("a", "b"),
    batteryPercent: fc.option(fc.float({ min: 0, max: 100, noNaN: true }), { nil: undefined }),
    charging: fc.option(fc.boolean(), { nil: undefined }),
    storageFreeBytes: fc.option(fc.nat(), { nil: undefined }),
    securityCounter: fc.nat(9),
  }),
  { minLength: 1 },
);

describe("LiveDevice", () => {
  it("ends with the newest reading, whatever order they come in, and the highest counter that it took", () => {
    fc.assert(
      fc.property(readings, (sequence) => {
        const live = device();
        const taken = sequence.filter((reading) => live.take(reading));
        const newest = taken.at(-1);
        expect(taken.every((reading, n) => n === 0 || isNewer(reading, taken[n - 1] ?? reading))).toBe(true);
        expect(sequence.some((reading) => isNewer(reading, live))).toBe(false);
        expect(live).toMatchObject({
          epoch: newest?.epoch,
          sequence: newest?.sequence,
          firmwareVersion: newest?.firmwareVersion,
          bootId: newest?.bootId,
          lastSeenAtMs: newest?.receivedAt.getTime(),
        });
        expect(live.batteryPercent).toBe(newest?.batteryPercent);
        expect(live.securityCounter).toBe(Math.max(...taken.map((reading) => reading.securityCounter)));
      }),
    );
  });

  it("knows the version that it enrolled with until the first heartbeat", () => {
    expect(device()).toMatchObject({ firmwareVersion: "1.0.0", bootId: "", lastSeenAtMs: undefined });
  });

  it("takes over the readings of a view that knows more, and only then", () => {
    const reading = {
      epoch: 1,
      sequence: 5,
      receivedAt: new Date(5),
      firmwareVersion: "1.5.0",
      bootId: "b",
      batteryPercent: 5,
      charging: true,
      storageFreeBytes: 5,
      securityCounter: 5,
    };
    const known = device();
    known.take(reading);
    const read = device();
    read.takeReadingsOf(known);
    expect(read).toEqual(known);
    read.take({ ...reading, sequence: 6, firmwareVersion: "1.6.0", securityCounter: 1 });
    read.takeReadingsOf(known);
    expect(read).toMatchObject({ sequence: 6, firmwareVersion: "1.6.0", securityCounter: 5 });
  });
});

describe("SharedTexts", () => {
  it("gives out one list for equal lists and stays bounded", () => {
    const texts = new SharedTexts();
    const first = texts.list(["a", "b"]);
    expect(texts.list(["a", "b"])).toBe(first);
    expect(texts.list([])).toEqual([]);
    for (let n = 0; n < 10_001; n++) texts.list([`g${n}`]);
    expect(texts.list(["a", "b"])).toEqual(["a", "b"]);
    expect(texts.list(["a", "b"])).not.toBe(first);
    expect(texts.text("thermostat")).toBe("thermostat");
  });
});
