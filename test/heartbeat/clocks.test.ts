import pg from "pg";
import { describe, expect, test } from "vitest";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { device, record, send, startIngest, stored, stream } from "./heartbeat-fixture.ts";
import { startStreams } from "./stream-fixture.ts";

const dayMs = 86_400_000;

describe("a device's clock", () => {
  test("that jumps back and forth changes neither what is stored nor its order", async () => {
    await using fixture = await startStreams();
    const history = new DeliveryHistory();
    const connected = fixture.connect(device());
    history.welcomed(connected.deviceId, 1, Number(await connected.open()));
    const now = Date.now();
    for (const [index, offsetMs] of [0, -400 * dayMs, 60_000, -3 * dayMs, 0].entries()) {
      history.sent(connected.deviceId, 1, index + 1);
      const seconds = BigInt(Math.floor((now + offsetMs) / 1_000));
      connected.beat({
        sequence: BigInt(index + 1),
        deviceTime: { $typeName: "google.protobuf.Timestamp", seconds, nanos: 0 },
      });
    }
    const { rejected } = await connected.ackOf(5);
    history.acked(connected.deviceId, 1, 5);
    expect(rejected).toEqual([]);
    expect(await history.check(fixture.url)).toEqual([]);
    const { rows } = await fixture.pool.query(
      "SELECT sequence FROM device_heartbeats WHERE device_id = $1 ORDER BY received_at, sequence",
      [connected.deviceId],
    );
    expect(rows.map(({ sequence }) => Number(sequence))).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("the service's clock", () => {
  test("that is set back loses nothing, stores nothing twice, and opens the partition of its time", async () => {
    const clock = new FakeClock("2026-06-10T00:00:05Z");
    await using fixture = await startStreams({ clock });
    const history = new DeliveryHistory();
    const id = device();
    const beat = async (
      connected: ReturnType<typeof fixture.connect>,
      sequences: number[],
    ): Promise<void> => {
      for (const sequence of sequences) history.sent(id, 1, sequence);
      connected.beat(...sequences);
      await connected.ackOf(sequences.at(-1) ?? 0);
      history.acked(id, 1, sequences.at(-1) ?? 0);
    };
    const first = fixture.connect(id);
    history.welcomed(id, 1, Number(await first.open()));
    await beat(first, [1, 2]);
    clock.setWallClock("2026-06-07T12:00:00Z");
    await beat(first, [3, 4]);
    // The same again on a new stream, as after a lost ack: the times of receipt differ, the numbers decide.
    const second = fixture.connect(id);
    history.welcomed(id, 1, Number(await second.open()));
    await beat(second, [3, 4, 5]);
    clock.setWallClock("2026-06-10T00:00:10Z");
    await beat(second, [6]);

    expect(await history.check(fixture.url)).toEqual([]);
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await fixture.partitions.days()).toContainEqual(new Date("2026-06-07"));
  });

  test("that jumps a month ahead finds its partition missing, and makes it", async () => {
    const clock = new FakeClock("2026-06-10T00:00:05Z");
    await using fixture = await startStreams({ clock });
    const connected = fixture.connect(device());
    await connected.open();
    connected.beat(1);
    await connected.ackOf(1);
    clock.advance(30 * dayMs);
    connected.beat(2);
    await connected.ackOf(2);
    expect(await stored(fixture, connected.deviceId)).toEqual([1, 2]);
  });
});

describe("a partition that is missing and cannot be made", () => {
  test("keeps what would go there unacknowledged until it can be", async () => {
    await using fixture = await startIngest({ withoutPartitions: true });
    const id = device();
    const receivedAt = new Date("2031-05-05T12:00:00Z");
    const other = new pg.Client({ connectionString: fixture.url });
    await other.connect();
    try {
      // A table of that name is in the way, as after a partition that was detached by hand.
      await other.query("CREATE TABLE device_heartbeats_20310505 (LIKE device_heartbeats)");
      const { result } = stream(fixture, { deviceId: id, records: [record(id, 1, { receivedAt })] });
      await eventually(() => expect(fixture.ingest.isStalled).toBe(true));
      await expect(send(fixture, id, [2], { receivedAt })).rejects.toMatchObject({
        reason: "DATABASE_UNAVAILABLE",
      });
      expect(await stored(fixture, id)).toEqual([]);
      await other.query("DROP TABLE device_heartbeats_20310505");
      expect(await result).toEqual({ ackedThrough: 1, rejected: [] });
      expect(await stored(fixture, id)).toEqual([1]);
    } finally {
      await other.end();
    }
  });
});
