import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { ErrorCode } from "../errors.ts";
import { exposeWork } from "./background/background-metrics.ts";
import type { WorkLog } from "./background/work-log.ts";
import { RpcMetrics } from "./rpc-metrics.ts";
import { withTimeLimit } from "./time-limit.ts";

/**
 * Every metric of the service, in a registry of its own, so that two services in one process (tests) stay apart. A
 * part of the service takes the small group that concerns it. No metric carries an id of a device, rollout or token
 * as a label: their number has no bound.
 */
export class Metrics {
  readonly rpc: RpcMetrics;
  readonly ingest: IngestMetrics;
  readonly updates: UpdateMetrics;
  readonly devices: DeviceMetrics;
  readonly clock: ClockMetrics;
  readonly store: StoreMetrics;
  readonly #registry = new Registry();

  /** `processMetrics` adds Node's own: memory, CPU, garbage collection and event-loop delay. */
  constructor(options: { readonly processMetrics: boolean }) {
    this.rpc = new RpcMetrics(this.#registry, prefix);
    this.ingest = createIngestMetrics(this.#registry);
    this.updates = createUpdateMetrics(this.#registry);
    this.devices = createDeviceMetrics(this.#registry);
    this.clock = createClockMetrics(this.#registry);
    this.store = createStoreMetrics(this.#registry);
    if (options.processMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  /** The media type of {@link text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Shows how background work does; asked for it when metrics are. */
  background(logs: () => readonly WorkLog[]): void {
    exposeWork(this.#registry, prefix, logs);
  }

  /** Registers a gauge whose value is read when metrics are asked for. */
  observe(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `${prefix}${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** Registers a counter of something that is counted elsewhere; read when metrics are asked for. */
  observeCount(name: string, help: string, read: () => number): void {
    new Counter({
      name: `${prefix}${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  /**
   * Registers a gauge with labels from small closed sets, whose values are read when metrics are asked for. What cannot be read,
   * or not within {@link readLimitMs}, has no value then: an old one would lie, and the other metrics are wanted most.
   */
  observeEach<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    read: () => Iterable<LabelledValue<Label>> | Promise<Iterable<LabelledValue<Label>>>,
  ): void {
    new Gauge<Label>({
      name: `${prefix}${name}`,
      help,
      labelNames,
      registers: [this.#registry],
      async collect() {
        this.reset();
        // Without labels it would be 0 then.
        if (labelNames.length === 0) this.remove({});
        const late = (): Error => new Error("not read in time");
        const values = withTimeLimit(Promise.resolve().then(read), readLimitMs, late);
        for (const [labels, value] of await values.catch(() => [])) this.set(labels, value);
      },
    });
  }
}

/** A value with its labels. */
export type LabelledValue<Label extends string> = readonly [Readonly<Record<Label, string>>, number];

/** Less than Prometheus waits for all of the metrics. */
const readLimitMs = 2_000;

/** What the heartbeat ingest counts. */
export interface IngestMetrics {
  /** Rows that wait for a flush. */
  readonly queueRows: Amount;
  /** Bytes that wait for a flush. */
  readonly queueBytes: Amount;
  /** Heartbeats that were committed. */
  readonly rowsWritten: Count;
  /** Heartbeats that had been committed before. */
  readonly rowsDuplicate: Count;
  /** Heartbeats that were refused for good. */
  readonly rowsRejected: Count;
  /** Readings that were left out of heartbeats, by their field in the contract. */
  readonly readingsLeftOut: LabelledCount;
  /** Flushes that failed and were tried again. */
  readonly flushFailures: Count;
  /** Seconds from the begin of a flush to its commit. */
  readonly flushSeconds: Distribution;
  /** Rows in a flush. */
  readonly flushRows: Distribution;
  /** Custom metrics that came but have no room in the catalogue. */
  readonly metricsUnlisted: Count;
}

/** What the rollout engine counts. */
export interface UpdateMetrics {
  /** An update check by its outcome: `OFFER` or the reason why there was none. */
  readonly checks: LabelledCount;
  /** Bytes of firmware sent, by door. */
  readonly downloadedBytes: LabelledCount;
  /** Downloads that were sent to the object store, by door. */
  readonly directDownloads: LabelledCount;
  /** Device updates that ended, by final state. */
  readonly ended: LabelledCount;
  /** Rollouts that rolled back by themselves. */
  readonly automaticRollbacks: Count;
}

/** What the registry of devices counts. */
export interface DeviceMetrics {
  /** Enrolments that were refused, by the reason that the device was told. */
  readonly enrolmentsRefused: LabelledCount;
  /** Devices that began to be suspected to have a clone. */
  readonly clonesSuspected: Count;
}

/** What the watch over the machine's clocks counts. */
export interface ClockMetrics {
  /** Seconds in which the service can have heard nobody. */
  readonly deafSeconds: Count;
  /** How often the wall clock was set. */
  readonly steps: Count;
}

/** What calls of the object store count. */
export interface StoreMetrics {
  /** A call that ended, by operation and outcome: `ok`, an error code, or `aborted`. */
  duration(operation: string, outcome: ErrorCode | "ok" | "aborted"): Distribution;
}

/** Something that only grows. */
interface Count {
  inc(by?: number): void;
}

/** Something that grows by a label from a small closed set. */
interface LabelledCount {
  labels(value: string): Count;
}

/** Something that goes up and down. */
interface Amount {
  set(value: number): void;
}

/** How often which values occur. */
interface Distribution {
  observe(value: number): void;
}

const prefix = "device_ota_";

function createIngestMetrics(registry: Registry): IngestMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `${prefix}ingest_${name}`, help, registers });
  const counter = (name: string, help: string) =>
    new Counter({ name: `${prefix}ingest_${name}`, help, registers });
  return {
    queueRows: gauge("queue_rows", "Heartbeats that wait to be written."),
    queueBytes: gauge("queue_bytes", "Bytes of heartbeats that wait to be written."),
    rowsWritten: counter("rows_written_total", "Heartbeats committed."),
    rowsDuplicate: counter("rows_duplicate_total", "Heartbeats dropped because they were committed before."),
    rowsRejected: counter("rows_rejected_total", "Heartbeats refused for good."),
    readingsLeftOut: new Counter({
      name: `${prefix}ingest_readings_left_out_total`,
      help: "Readings that were left out of heartbeats because no sensor can mean them.",
      labelNames: ["field"],
      registers,
    }),
    flushFailures: counter("flush_failures_total", "Flushes that failed and were tried again."),
    metricsUnlisted: counter(
      "metrics_unlisted_total",
      "Sightings of custom metrics that the catalogue has no room for.",
    ),
    flushSeconds: new Histogram({
      name: `${prefix}ingest_flush_seconds`,
      help: "Time from the begin of a flush to its commit.",
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
      registers,
    }),
    flushRows: new Histogram({
      name: `${prefix}ingest_flush_rows`,
      help: "Heartbeats in a flush.",
      buckets: [1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000],
      registers,
    }),
  };
}

function createUpdateMetrics(registry: Registry): UpdateMetrics {
  const registers = [registry];
  return {
    checks: new Counter({
      name: `${prefix}update_checks_total`,
      help: "Update checks by outcome: OFFER or the reason why there was none.",
      labelNames: ["outcome"],
      registers,
    }),
    downloadedBytes: new Counter({
      name: `${prefix}downloaded_bytes_total`,
      help: "Bytes of firmware sent to devices.",
      labelNames: ["door"],
      registers,
    }),
    directDownloads: new Counter({
      name: `${prefix}direct_downloads_total`,
      help: "Downloads whose devices were given a URL of the object store.",
      labelNames: ["door"],
      registers,
    }),
    ended: new Counter({
      name: `${prefix}device_updates_ended_total`,
      help: "Device updates that reached a final state.",
      labelNames: ["state"],
      registers,
    }),
    automaticRollbacks: new Counter({
      name: `${prefix}automatic_rollbacks_total`,
      help: "Rollouts that were rolled back because of their failure rate.",
      registers,
    }),
  };
}

function createDeviceMetrics(registry: Registry): DeviceMetrics {
  return {
    enrolmentsRefused: new Counter({
      name: `${prefix}enrolments_refused_total`,
      help: "Enrolments that were refused, by reason.",
      labelNames: ["reason"],
      registers: [registry],
    }),
    clonesSuspected: new Counter({
      name: `${prefix}clones_suspected_total`,
      help: "Devices that began to be suspected to have a clone.",
      registers: [registry],
    }),
  };
}

function createClockMetrics(registry: Registry): ClockMetrics {
  const registers = [registry];
  return {
    deafSeconds: new Counter({
      name: `${prefix}clock_deaf_seconds_total`,
      help: "Time in which the machine slept, the process was stopped or its event loop was held up, in stretches of 2 s and more.",
      registers,
    }),
    steps: new Counter({
      name: `${prefix}clock_steps_total`,
      help: "How often the wall clock was set, by 2 s and more.",
      registers,
    }),
  };
}

function createStoreMetrics(registry: Registry): StoreMetrics {
  const duration = new Histogram({
    name: `${prefix}store_duration_seconds`,
    help: "Duration of calls of the object store, of reads until the first byte can be read; outcome is ok, aborted or an error code.",
    labelNames: ["operation", "outcome"],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  return { duration: (operation, outcome) => duration.labels(operation, outcome) };
}
