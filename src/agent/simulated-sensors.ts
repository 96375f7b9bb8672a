import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import type { SensorReading, Sensors } from "./sensors.ts";

/** Instruments of a device that does not exist: readings that wander as real ones do. */
export class SimulatedSensors implements Sensors {
  bootId = "";
  /** The network that the device is on, for as long as it is set. */
  network: NetworkType | undefined;
  readonly #random: () => number;
  readonly #charging: boolean;
  readonly #latitude: number;
  readonly #longitude: number;
  readonly #network: NetworkType;
  #bootedAtMs = performance.now();
  #battery: number;
  #temperature: number;
  #beats = 0;

  constructor(random: () => number) {
    this.#random = random;
    this.#charging = random() < 0.5;
    this.#battery = 60 + 40 * random();
    this.#temperature = 25 + 15 * random();
    this.#latitude = 45 + 10 * random();
    this.#longitude = 5 + 15 * random();
    this.#network = random() < 0.7 ? NetworkType.WIFI : NetworkType.CELLULAR;
  }

  /** A new boot: another boot id, and uptime from zero. */
  boot(): void {
    this.bootId = hexadecimal(this.#random, 8);
    this.#bootedAtMs = performance.now();
  }

  uptimeMs(): number {
    return performance.now() - this.#bootedAtMs;
  }

  read(): Promise<SensorReading> {
    this.#beats++;
    this.#battery = bounded(this.#battery + (this.#charging ? 0.2 : -0.02), 0, 100);
    this.#temperature = bounded(this.#temperature + this.#random() - 0.5, -20, 80);
    const network = this.network ?? this.#network;
    return Promise.resolve({
      batteryPercent: this.#battery,
      charging: this.#charging,
      cpuPercent: 5 + 30 * this.#random(),
      memoryPercent: 30 + 20 * this.#random(),
      storageFreeBytes: BigInt(Math.round(2e9 + 1e8 * this.#random())),
      temperatureCelsius: this.#temperature,
      location: { latitude: this.#latitude, longitude: this.#longitude, accuracyMeters: 8 },
      network: {
        type: network,
        signalDbm: Math.round(-90 + 40 * this.#random()),
        carrier: network === NetworkType.CELLULAR ? "Simtel" : "",
      },
      metrics: { "sim.readings": this.#beats },
    });
  }
}

function bounded(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

function hexadecimal(random: () => number, words: number): string {
  return Array.from({ length: words }, () =>
    Math.floor(random() * 0x10000)
      .toString(16)
      .padStart(4, "0"),
  ).join("");
}
