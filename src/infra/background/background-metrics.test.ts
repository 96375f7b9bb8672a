import { expect, test } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { createLogger } from "../logger.ts";
import { Metrics } from "../metrics.ts";
import { Background } from "./background.ts";
import { BatchWriter } from "./batch-writer.ts";
import { Round } from "./round.ts";

test("metrics show how each background work does", async () => {
  const clock = new FakeClock("2026-06-01T00:00:00Z");
  const logger = createLogger({ level: "silent", pretty: false });
  const background = new Background({ clock, logger });
  const metrics = new Metrics({ processMetrics: false });
  metrics.background(() => background.logs);
  let away = false;
  const round = new Round({
    name: "round",
    work: () => {
      clock.advance(1_500);
      if (away) throw new Error("away");
    },
    clock,
    logger,
  });
  const writer = new BatchWriter<number>({
    name: "writer",
    keyOf: String,
    write: async (rows) => {
      if (rows.includes(13)) throw new Error("bad row");
    },
    maxRows: 100,
    lingerMs: 1_000,
    maxWaiting: 4,
    isBadRow: () => true,
    onOutage: "keep",
    clock,
    logger,
  });
  for (const work of [round, writer]) background.add(work);
  await round.run();
  away = true;
  await round.run();
  for (const row of [11, 12, 13, 14, 15]) writer.add(row);
  await writer.flush();
  writer.add(16);

  const lines = (await metrics.text())
    .split("\n")
    .filter((line) => line.startsWith("device_ota_background_"));
  const began = Date.parse("2026-06-01T00:00:00Z") / 1_000;
  expect(lines).toEqual([
    'device_ota_background_runs_total{work="round",outcome="ok"} 1',
    'device_ota_background_runs_total{work="round",outcome="failed"} 1',
    'device_ota_background_runs_total{work="writer",outcome="ok"} 1',
    'device_ota_background_runs_total{work="writer",outcome="failed"} 0',
    `device_ota_background_last_run_timestamp_seconds{work="round"} ${began + 1.5}`,
    `device_ota_background_last_run_timestamp_seconds{work="writer"} ${began + 3}`,
    `device_ota_background_last_success_timestamp_seconds{work="round"} ${began + 1.5}`,
    `device_ota_background_last_success_timestamp_seconds{work="writer"} ${began + 3}`,
    `device_ota_background_last_failure_timestamp_seconds{work="round"} ${began + 3}`,
    'device_ota_background_last_duration_seconds{work="round"} 1.5',
    'device_ota_background_last_duration_seconds{work="writer"} 0',
    'device_ota_background_rows_waiting{work="writer"} 1',
    'device_ota_background_rows_total{work="writer",outcome="written"} 3',
    'device_ota_background_rows_total{work="writer",outcome="refused"} 1',
    'device_ota_background_rows_total{work="writer",outcome="lost"} 1',
  ]);
  expect(
    (await metrics.text()).split("\n").filter((line) => line.startsWith("device_ota_background_")),
  ).toEqual(lines);
});
