import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { exportRequestOfQuery, exportText } from "../../src/telemetry/export-messages.ts";
import { HeartbeatExport } from "../../src/telemetry/heartbeat-export.ts";
import { liveBytes } from "../support/live-bytes.ts";
import { beat, noon, startTelemetry } from "./telemetry-fixture.ts";

type Telemetry = Awaited<ReturnType<typeof startTelemetry>>;

function open({ reads, clock }: Telemetry, deviceId: string, query: string) {
  const request = exportRequestOfQuery(deviceId, new URLSearchParams(query));
  const text = exportText(request);
  const { signal } = new AbortController();
  return new HeartbeatExport(reads, clock).write({
    ...request,
    header: text.header,
    line: (record) => text.line(record),
    signal,
  });
}

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all).toString();
}

describe("exports", () => {
  test("as CSV quote by RFC 4180, write JSON in cells and disarm formulas", async () => {
    await using telemetry = await startTelemetry();
    const id = randomUUID();
    await telemetry.store([
      beat(id, 1, 1, {
        firmwareVersion: "1.0.0",
        bootId: "=cmd|' /C calc'!A0",
        carrier: 'Tele, "K"\nom',
        networkType: "WIFI",
        signalDbm: -67,
        batteryPercent: 12.5,
        metrics: { fan: 1 },
        uptimeMs: 1_500,
      }),
      beat(id, 2, 2, { latitude: -1.5, longitude: 2.25 }),
    ]);
    telemetry.clock.advance(60_000);
    const csv = await textOf(
      open(telemetry, id, "format=csv&readMask=bootId,batteryPercent,network,location,metrics,uptime"),
    );
    expect(csv).toBe(
      [
        "receive_time,epoch,sequence,boot_id,battery_percent,network_type,signal_dbm,carrier,latitude,longitude,accuracy_meters,altitude_meters,fix_time,metrics,uptime_seconds",
        `2026-06-10T12:00:01.000Z,1,1,'=cmd|' /C calc'!A0,12.5,WIFI,-67,"Tele, ""K""\nom",,,,,,"{""fan"":1}",1.5`,
        "2026-06-10T12:00:02.000Z,1,2,boot-1,,,,,-1.5,2.25,,,,,1",
        "",
      ].join("\r\n"),
    );
  });

  test("as NDJSON hold each heartbeat in its JSON mapping, oldest first, within the times", async () => {
    await using telemetry = await startTelemetry();
    const id = randomUUID();
    await telemetry.store([1, 2, 3, 4].map((n) => beat(id, n, n, { batteryPercent: n })));
    telemetry.clock.advance(60_000);
    const query = `startTime=${new Date(noon.getTime() + 2_000).toISOString()}&endTime=${new Date(noon.getTime() + 4_000).toISOString()}`;
    const lines = (await textOf(open(telemetry, id, `${query}&readMask=batteryPercent`))).split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { heartbeat: { sequence: "2", batteryPercent: 2 }, receiveTime: "2026-06-10T12:00:02Z", epoch: 1 },
      { heartbeat: { sequence: "3", batteryPercent: 3 }, receiveTime: "2026-06-10T12:00:03Z", epoch: 1 },
    ]);
    const [first] = (await textOf(open(telemetry, id, ""))).split("\n");
    expect(JSON.parse(first ?? "")).toMatchObject({ heartbeat: { firmwareVersion: "1.0.0", uptime: "1s" } });
  });

  test.each([
    ["format=xml", "format"],
    ["startTime=today", "startTime"],
    ["readMask=battery", "read_mask"],
    ["readMask=location.latitude", "read_mask"],
    ["what=1", "what"],
    ["format=csv&format=csv", "format"],
  ])("refuse %s", (query, field) => {
    expect(() => exportRequestOfQuery(randomUUID(), new URLSearchParams(query))).toThrow(
      expect.objectContaining({ code: "invalid_argument", fields: [expect.objectContaining({ field })] }),
    );
  });

  test("read nothing ahead of a slow reader, and take no more memory for 200,000 heartbeats", async () => {
    await using telemetry = await startTelemetry();
    const id = randomUUID();
    await telemetry.ingest.partitions.ensure(noon);
    await telemetry.pool.query(
      `INSERT INTO device_heartbeats (device_id, received_at, sequence, epoch, firmware_version, boot_id, uptime_ms, security_counter, battery_percent)
       SELECT $1, $2::timestamptz + n * interval '100 milliseconds', n, 1, '1.0.0', 'boot', n, 1, n % 100 FROM generate_series(1, 200000) n`,
      [id, noon.toISOString()],
    );
    telemetry.clock.advance(12 * 3_600_000);
    let queries = 0;
    const { pool } = telemetry;
    const counted = new Proxy(pool, {
      get(target, name) {
        if (name === "query") queries++;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const chunks = open(
      { ...telemetry, pool: counted },
      id,
      "format=csv&readMask=batteryPercent,firmwareVersion",
    );
    const peaks: number[] = [];
    let lines = 0;
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      expect(chunk.length).toBeLessThanOrEqual(64 * 1024);
      expect(chunk.at(-1)).toBe(10);
      for (const byte of chunk) if (byte === 10) lines++;
      // A part of 500 heartbeats is read only when the text of those before it was taken.
      expect(queries).toBeLessThanOrEqual(Math.floor(lines / 500) + 2 + Math.ceil(chunk.length / 25_000));
      if (peaks.length < 1 || lines % 20_000 < 1_000) peaks.push(liveBytes());
    }
    expect(lines).toBe(200_001);
    expect(bytes).toBeGreaterThan(8_000_000);
    // All records at once would take some 100 MB.
    expect(Math.max(...peaks) - (peaks[0] ?? 0)).toBeLessThan(8_000_000);
  });
});
