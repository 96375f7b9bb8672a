/** What a device and a heartbeat cost, as `bench/sizing.ts` measured it. */
export interface MeasuredCosts {
  readonly on: { readonly time: string; readonly processor: string; readonly cores: number };
  readonly device: {
    /** Of the service's process, before any device is there. */
    readonly serviceBytes: number;
    readonly databaseBytes: number;
    readonly streamBytes: number;
  };
  readonly heartbeat: {
    readonly serviceMicros: number;
    readonly postgresMicros: number;
    readonly databaseBytes: number;
    readonly logBytes: number;
  };
  /** By the interval in seconds; of a device and a day. */
  readonly rollUps: Readonly<Record<"60" | "300", RollUpCosts>>;
}

interface RollUpCosts {
  readonly postgresMicrosADay: number;
  readonly bytes5mADay: number;
  readonly bytes1hADay: number;
  readonly logBytesADay: number;
}

/** The measured costs, and what fleets need by them, as Markdown. */
export function sizingTables(costs: MeasuredCosts): string {
  const { on, device, heartbeat, rollUps } = costs;
  const measured = [
    `Measured on ${on.cores} cores (${on.processor}) that other programs kept busy, ${on.time}:`,
    "",
    "| what | service | PostgreSQL |",
    "| --- | --- | --- |",
    `| nothing yet | ${bytes(device.serviceBytes)} of memory | |`,
    `| a device | ${bytes(device.streamBytes)} of memory for its stream | ${bytes(device.databaseBytes)} of tables |`,
    `| a heartbeat | ${heartbeat.serviceMicros} µs of CPU | ${heartbeat.postgresMicros} µs of CPU, ${bytes(heartbeat.databaseBytes)} of tables, ${bytes(heartbeat.logBytes)} of log |`,
    ...intervals.map((interval) => {
      const { postgresMicrosADay, bytes5mADay, bytes1hADay, logBytesADay } = rollUps[interval];
      return `| a device's day of roll-ups at ${interval} s | | ${figure(postgresMicrosADay / 1_000)} ms of CPU, ${bytes(bytes5mADay)} of 5 minutes, ${bytes(bytes1hADay)} of 1 hour, ${bytes(logBytesADay)} of log |`;
    }),
  ];
  const needed = [
    "| devices | every | heartbeats a second | service: CPU | service: memory | replicas | PostgreSQL: CPU | its hot rows | its disk | its log a day |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...fleets.flatMap((devices) => intervals.map((interval) => row(costs, devices, interval))),
  ];
  return [...measured, "", ...needed].join("\n");
}

const fleets = [1_000, 10_000, 100_000, 1_000_000] as const;

const intervals = ["60", "300"] as const;

/** Of one core: what is beyond is for storms of reconnects, updates and people. */
const mostOfACore = 0.5;

/** Of one replica: Node.js takes as much without being told to. */
const replicaBytes = 2 * 1024 ** 3;

/** As the settings have it by default. */
const keptDays = { heartbeats: 30, rollUps5m: 30, rollUps1h: 400 };

const daySeconds = 86_400;

function row(costs: MeasuredCosts, devices: number, interval: "60" | "300"): string {
  const { device, heartbeat, rollUps } = costs;
  const { postgresMicrosADay, bytes5mADay, bytes1hADay, logBytesADay } = rollUps[interval];
  const rate = devices / Number(interval);
  const serviceCores = (rate * heartbeat.serviceMicros) / 1e6;
  const streamBytes = devices * device.streamBytes;
  const replicas = Math.max(
    1,
    Math.ceil(serviceCores / mostOfACore),
    Math.ceil(streamBytes / (replicaBytes - device.serviceBytes)),
  );
  const postgresCores =
    (rate * heartbeat.postgresMicros) / 1e6 + (devices * postgresMicrosADay) / 1e6 / daySeconds;
  const beatsADay = rate * daySeconds;
  const disk =
    devices * (device.databaseBytes + keptDays.rollUps5m * bytes5mADay + keptDays.rollUps1h * bytes1hADay) +
    keptDays.heartbeats * beatsADay * heartbeat.databaseBytes;
  const cells = [
    count(devices),
    `${interval} s`,
    count(Number(figure(rate))),
    `${figure(serviceCores)} cores`,
    bytes(replicas * device.serviceBytes + streamBytes),
    count(replicas),
    `${figure(postgresCores)} cores`,
    bytes(devices * device.databaseBytes),
    bytes(disk),
    bytes(beatsADay * heartbeat.logBytes + devices * logBytesADay),
  ];
  return `| ${cells.join(" | ")} |`;
}

/** Two digits that count. */
function figure(value: number): string {
  return String(Number(value.toPrecision(2)));
}

function count(value: number): string {
  return new Intl.NumberFormat("en").format(value);
}

function bytes(value: number): string {
  let size = value;
  let unit = 0;
  while (size >= 1_000 && unit < units.length - 1) {
    size /= 1_024;
    unit++;
  }
  return `${figure(size)} ${units[unit]}`;
}

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
