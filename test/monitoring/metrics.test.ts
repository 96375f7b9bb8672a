import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { readPage, root } from "../docs/pages.ts";
import { newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type ScrapedMetric, scrape, scrapeText } from "./scrape.ts";

/** What Prometheus sees of a service to which the usual has happened. */

let service: TestService;
let device: PolledDevice;
let metrics: Map<string, ScrapedMetric>;
beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_REQUIRE_SIGNATURE: "false" } });
  const rpc = service.client();
  const { id } = await publish(service, newContent(100));
  const { firmware } = await rpc.unary(FirmwareService.method.getFirmware, { id });
  device = await PolledDevice.enrol(rpc, service.enrolmentKey);
  const group = await device.joinGroup(rpc, firmware?.product ?? "");
  const { rollout } = await rpc.unary(RolloutService.method.createRollout, {
    firmwareId: id,
    targeting: { groups: [group] },
  });
  await rpc.unary(RolloutService.method.startRollout, { id: rollout?.id ?? "" });
  await device.update(service);
  await refusal(rpc.unary(DeviceService.method.getDevice, { id: "no-such-device" }));
  // States are written once a second, and the ORM opens its pool when it is first needed.
  metrics = await eventually(async () => {
    const found = await scrape(service);
    const online = /^device_ota_devices\{presence="online"\} 1$/m.test(await scrapeText(service));
    const hasOrm = valuesOf(found, "device_ota_database_connections", "pool").includes("orm");
    if (!online || !hasOrm) throw new Error("not all is there yet");
    return found;
  });
});
afterAll(() => service[Symbol.asyncDispose]());

function valuesOf(found: ReadonlyMap<string, ScrapedMetric>, name: string, label: string): string[] {
  return [...new Set(found.get(name)?.series.map((labels) => labels[label] ?? ""))].toSorted();
}

const ours = (): ScrapedMetric[] =>
  [...metrics.values()].filter(({ name }) => name.startsWith("device_ota_"));

describe("each metric", () => {
  it("is listed in docs/metrics.md with its type and meaning, and none beside them", async () => {
    const rows = ours()
      .map(({ name, type, help }) => `${name} | ${type} | ${help}`)
      .toSorted();
    const listed = await listedMetrics();
    expect(listed.map(({ name, type, help }) => `${name} | ${type} | ${help}`)).toEqual(rows);
  });

  it("has the labels that are listed there, and no others", async () => {
    const listed = new Map((await listedMetrics()).map(({ name, labels }) => [name, labels]));
    for (const { name, series } of ours()) {
      for (const labels of series)
        expect([name, ...Object.keys(labels).toSorted()]).toEqual([name, ...(listed.get(name) ?? [])]);
    }
  });

  it("is named as Prometheus asks: base units, `_total` on counters and on nothing else", () => {
    for (const { name, type } of ours()) {
      expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
      expect(name).not.toMatch(
        /_(?:ms|milliseconds|minutes|hours|kilobytes|megabytes|percent|count|sum|bucket)$/,
      );
    }
  });

  it("has labels of small closed sets: no device, rollout, token or address", async () => {
    const text = await scrapeText(service);
    expect(text).not.toContain(device.id);
    expect(text).not.toContain("127.0.0.1");
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-/);
    expect(text).not.toContain(service.adminToken);
  });
});

describe("the metrics tell", () => {
  it("how rollouts and their rings stand, of each state", () => {
    expect(valuesOf(metrics, "device_ota_rollouts", "state")).toHaveLength(9);
    expect(valuesOf(metrics, "device_ota_rings", "state")).toEqual(["FAILED", "OPEN", "PASSED", "WAITING"]);
  });

  it("what is in the database as it is in it", async () => {
    const text = await scrapeText(service);
    expect(text).toContain('device_ota_rollouts{state="RUNNING"} 1');
    expect(text).toContain('device_ota_rings{state="WAITING"}');
    expect(text).toMatch(/^device_ota_rollout_alerts \d+$/m);
  });

  it("no end of a certificate where there is none", async () => {
    expect(await scrapeText(service)).not.toMatch(/^device_ota_tls_/m);
  });

  it("which checks of readiness hold", () => {
    expect(valuesOf(metrics, "device_ota_ready", "check")).toEqual(
      expect.arrayContaining(["database", "migrations", "serving", "store"]),
    );
  });

  it("why calls failed", () => {
    expect(valuesOf(metrics, "device_ota_rpc_failures_total", "reason")).toContain("INVALID_REQUEST");
  });

  it("how full each pool is, and how calls of the store end", () => {
    expect(valuesOf(metrics, "device_ota_database_connections", "pool")).toEqual([
      "admin",
      "heavy_reads",
      "ingest",
      "orm",
    ]);
    expect(valuesOf(metrics, "device_ota_store_duration_seconds", "outcome")).toEqual(["ok"]);
  });
});

interface ListedMetric {
  readonly name: string;
  readonly labels: readonly string[];
  readonly type: string;
  readonly help: string;
}

/** The rows of the table in docs/metrics.md. */
async function listedMetrics(): Promise<ListedMetric[]> {
  const table = /^<!-- metrics: [^>]* -->\n(.*?)\n<!-- \/metrics -->$/ms.exec(
    await readPage("docs/metrics.md"),
  )?.[1];
  return Array.from(
    (table ?? "").matchAll(/^\| `(\w+)(?:\{([\w,]*)\})?` \| (\w+) \| (.*) \|$/gm),
    ([, name = "", labels = "", type = "", help = ""]) => ({
      name,
      labels: labels
        .split(",")
        .filter((label) => label !== "")
        .toSorted(),
      type,
      help,
    }),
  );
}

describe("deploy/monitoring", () => {
  it("names only metrics that exist in the dashboard", async () => {
    const dashboard = JSON.parse(
      await readFile(join(root, "deploy/monitoring/grafana-dashboard.json"), "utf8"),
    ) as unknown;
    const named = metricsIn(expressionsOf(dashboard));
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !exists(name))).toEqual([]);
  });

  it("names only metrics that exist in the alert rules", async () => {
    const rules = await readFile(join(root, "deploy/monitoring/alerts.yml"), "utf8");
    const named = metricsIn([rules]);
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((name) => !exists(name))).toEqual([]);
  });
});

function exists(name: string): boolean {
  return (
    metrics.has(name) || (metrics.get(name.replace(/_(?:bucket|sum|count)$/, ""))?.type ?? "") === "histogram"
  );
}

/** The texts under `expr` and in queries of variables, wherever they stand. */
function expressionsOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === "string" && (key === "expr" || key === "query") ? [inner] : expressionsOf(inner),
  );
}

function metricsIn(texts: readonly string[]): string[] {
  const names = texts.flatMap((text) => text.match(/\b(?:device_ota|process|nodejs)_\w+/g) ?? []);
  return [...new Set(names)];
}
