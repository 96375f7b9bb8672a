import { readdir, readFile, statfs } from "node:fs/promises";
import { join } from "node:path";
import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import type { SensorReading, Sensors } from "./sensors.ts";

/** Where the readings come from. */
export interface LinuxSensorsOptions {
  /** The folder that updates are downloaded to: its file system's free space counts. */
  readonly storageFolder: string;
  /** Stands for `/`, so that a test can lay out its own `/proc` and `/sys`. */
  readonly root?: string;
}

/**
 * The instruments of a Linux device: `/proc` for load, memory and boot, `/sys/class` for battery, temperature and network.
 * What the machine does not have is left out of the reading.
 */
export class LinuxSensors implements Sensors {
  readonly bootId: string;
  readonly #root: string;
  readonly #storageFolder: string;
  readonly #bootedAtMs: number;
  #lastCpu: CpuTimes | undefined;

  private constructor(options: LinuxSensorsOptions, bootId: string, uptimeMs: number) {
    this.#root = options.root ?? "/";
    this.#storageFolder = options.storageFolder;
    this.bootId = bootId;
    this.#bootedAtMs = performance.now() - uptimeMs;
  }

  /** Reads boot id and uptime; throws if the machine has no `/proc`. */
  static async open(options: LinuxSensorsOptions): Promise<LinuxSensors> {
    const root = options.root ?? "/";
    const bootId = (await readFile(join(root, "proc/sys/kernel/random/boot_id"), "utf8")).trim();
    const uptime = Number.parseFloat(await readFile(join(root, "proc/uptime"), "utf8"));
    return new LinuxSensors(options, bootId, uptime * 1000);
  }

  uptimeMs(): number {
    return performance.now() - this.#bootedAtMs;
  }

  async read(): Promise<SensorReading> {
    const [power, cpuPercent, memoryPercent, storageFreeBytes, temperatureCelsius, type] = await Promise.all([
      this.#power(),
      this.#cpuPercent(),
      this.#memoryPercent(),
      this.#storageFreeBytes(),
      this.#temperatureCelsius(),
      this.#networkType(),
    ]);
    return {
      ...power,
      ...(cpuPercent === undefined ? {} : { cpuPercent }),
      ...(memoryPercent === undefined ? {} : { memoryPercent }),
      ...(storageFreeBytes === undefined ? {} : { storageFreeBytes }),
      ...(temperatureCelsius === undefined ? {} : { temperatureCelsius }),
      ...(type === undefined ? {} : { network: { type } }),
    };
  }

  async #power(): Promise<Pick<SensorReading, "batteryPercent" | "charging">> {
    let batteryPercent: number | undefined;
    let charging: boolean | undefined;
    for (const supply of await this.#list("sys/class/power_supply")) {
      const folder = `sys/class/power_supply/${supply}`;
      if ((await this.#text(`${folder}/type`)) === "Battery") {
        batteryPercent ??= await this.#number(`${folder}/capacity`);
        const state = await this.#text(`${folder}/status`);
        if (state === "Charging" || state === "Full") charging = true;
        else charging ??= false;
      } else if ((await this.#number(`${folder}/online`)) === 1) charging = true;
    }
    return {
      ...(batteryPercent === undefined ? {} : { batteryPercent: percent(batteryPercent) }),
      ...(charging === undefined ? {} : { charging }),
    };
  }

  /** Share of busy time since the last reading; the first one covers the time since boot. */
  async #cpuPercent(): Promise<number | undefined> {
    const times = (await this.#text("proc/stat"))
      ?.match(/^cpu +(.+)$/m)?.[1]
      ?.split(" ")
      .map(Number);
    if (times === undefined) return undefined;
    const [, , , idle = 0, ioWait = 0] = times;
    // Guest time (from the ninth on) is already part of user time.
    const now = { total: times.slice(0, 8).reduce((sum, time) => sum + time, 0), idle: idle + ioWait };
    const last = this.#lastCpu ?? { total: 0, idle: 0 };
    this.#lastCpu = now;
    const total = now.total - last.total;
    return total <= 0 ? undefined : percent(100 * (1 - (now.idle - last.idle) / total));
  }

  async #memoryPercent(): Promise<number | undefined> {
    const text = (await this.#text("proc/meminfo")) ?? "";
    const total = Number(text.match(/^MemTotal: +(\d+)/m)?.[1]);
    const available = Number(text.match(/^MemAvailable: +(\d+)/m)?.[1]);
    return total > 0 && available >= 0 ? percent(100 * (1 - available / total)) : undefined;
  }

  async #storageFreeBytes(): Promise<bigint | undefined> {
    try {
      const { bavail, bsize } = await statfs(this.#storageFolder, { bigint: true });
      return bavail * bsize;
    } catch {
      return undefined;
    }
  }

  /** The hottest of the thermal zones. */
  async #temperatureCelsius(): Promise<number | undefined> {
    const zones = (await this.#list("sys/class/thermal")).filter((name) => name.startsWith("thermal_zone"));
    const readings = await Promise.all(zones.map((zone) => this.#number(`sys/class/thermal/${zone}/temp`)));
    const known = readings.filter((reading) => reading !== undefined);
    return known.length === 0 ? undefined : Math.max(...known) / 1000;
  }

  /** The kind of the interface that the default route uses. */
  async #networkType(): Promise<NetworkType | undefined> {
    const routes = (await this.#text("proc/net/route")) ?? "";
    const name = routes.match(/^(\S+)\t00000000\t/m)?.[1];
    if (name === undefined) return undefined;
    const parts = await this.#list(`sys/class/net/${name}`);
    if (parts.includes("wireless") || parts.includes("phy80211")) return NetworkType.WIFI;
    return /^(?:wwan|ppp|usb)/.test(name) ? NetworkType.CELLULAR : NetworkType.ETHERNET;
  }

  async #list(path: string): Promise<string[]> {
    try {
      return await readdir(join(this.#root, path));
    } catch {
      return [];
    }
  }

  async #text(path: string): Promise<string | undefined> {
    try {
      return (await readFile(join(this.#root, path), "utf8")).trim();
    } catch {
      return undefined;
    }
  }

  async #number(path: string): Promise<number | undefined> {
    const text = await this.#text(path);
    const number = Number(text);
    return text === undefined || text === "" || !Number.isFinite(number) ? undefined : number;
  }
}

interface CpuTimes {
  readonly total: number;
  readonly idle: number;
}

function percent(value: number): number {
  return Math.min(100, Math.max(0, value));
}
