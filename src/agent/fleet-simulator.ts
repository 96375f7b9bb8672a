import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChannelCredentials } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../infra/clock.ts";
import { trustIn } from "./offer-check.ts";
import { seededRandom } from "./seeded-random.ts";
import { type Behaviour, type BehaviourRates, behaviourByRates } from "./simulated-behaviour.ts";
import { type DeviceActivity, SimulatedDevice } from "./simulated-device.ts";
import { Slots } from "./slots.ts";

/** A kind of simulated devices. */
interface FleetModel {
  readonly deviceType: string;
  readonly hardwareModel: string;
}

/** How large a fleet is and how it behaves. Rates are shares of the devices, 0 to 1. */
export interface FleetSimulatorOptions extends BehaviourRates {
  /** Host and port of the service's gRPC door. */
  readonly address: string;
  /** TLS credentials; plaintext, on this machine alone, if left out. */
  readonly channelCredentials?: ChannelCredentials | undefined;
  readonly enrolmentKey: string;
  /** Public keys in PEM that the devices trust to sign firmware. */
  readonly trustedKeys: readonly string[];
  /** Whether the devices take unsigned firmware too. Default false. */
  readonly allowUnsigned?: boolean;
  /** How many devices: 1 to 2,000. */
  readonly count: number;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** The same seed makes the same devices behave the same way. Default 1. */
  readonly seed?: string | number;
  /** Begins the serial numbers; default a new one for each fleet, so that it can join a service twice. */
  readonly serialPrefix?: string;
  /** The version that all devices come with. Default 1.0.0. */
  readonly factoryVersion?: string;
  /** The applications that all devices come with, version by component. Default none. */
  readonly components?: Readonly<Record<string, string>>;
  /** What the devices are, in turn. Default a mix of three. */
  readonly models?: readonly FleetModel[];
  /** How often each device beats, in milliseconds; default as the service says. */
  readonly heartbeatIntervalMs?: number;
  /** Decides what a version does to a device; default by the rates below. */
  readonly behaviour?: (version: string, device: { index: number; hardwareModel: string }) => Behaviour;
  /** Share of devices with a slow network. Default 0. */
  readonly slowRate?: number;
  /** Share of devices that lose the network now and then. Default 0. */
  readonly offlineRate?: number;
  /** How fast a slow device downloads, in bytes per second. Default 512 KiB. */
  readonly slowBytesPerSecond?: number;
  /** How long an outage lasts, in milliseconds. Default 5 s. */
  readonly outageMs?: number;
  /** The mean time between outages, in milliseconds. Default 20 s. */
  readonly outageEveryMs?: number;
  /** How long an installation takes, in milliseconds. Default 200. */
  readonly installMs?: number;
  /** How long a reboot takes, in milliseconds. Default 300. */
  readonly rebootMs?: number;
  /** How long a crashing version runs, in milliseconds. Default 1,500. */
  readonly crashAfterMs?: number;
  /** How long a late device stays away, in milliseconds. Default 5 minutes. */
  readonly lateAfterMs?: number;
  /** How long a device runs an update before it falls back, in milliseconds. Default 5 minutes. */
  readonly driftAfterMs?: number;
  /** Most downloads at a time; slow devices do not count. Default 16. */
  readonly downloadConcurrency?: number;
  /** Most devices that enrol at a time. Default 16. */
  readonly enrolConcurrency?: number;
  /** Whether each device has its own TCP connection, as real ones do. Default true. */
  readonly ownConnections?: boolean;
  /** Upper bound of the waits between tries of a device, in milliseconds. Default 5 s. */
  readonly maxRetryPauseMs?: number;
  /** Ends the start early. */
  readonly signal?: AbortSignal;
}

/** A fleet at one moment. */
export interface FleetSnapshot {
  readonly total: number;
  /** Devices whose heartbeat stream stands. */
  readonly online: number;
  readonly byVersion: Readonly<Record<string, number>>;
  readonly byActivity: Readonly<Partial<Record<DeviceActivity, number>>>;
  /** Heartbeats that the service acknowledged as durable. */
  readonly heartbeats: number;
  readonly crashes: number;
  readonly reboots: number;
}

/** Hundreds of {@link SimulatedDevice}s in one process. */
export class FleetSimulator implements AsyncDisposable {
  readonly #folder: string;
  readonly #devices: readonly SimulatedDevice[];
  readonly #listeners = new Set<(snapshot: FleetSnapshot) => void>();
  #notice: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(folder: string, options: FleetSimulatorOptions) {
    this.#folder = folder;
    this.#devices = makeDevices(folder, options, () => this.#changed());
  }

  /**
   * Makes the fleet and enrols it; resolves when every device has its identity. If the service refuses one, everything
   * is stopped and its error thrown.
   */
  static async start(options: FleetSimulatorOptions): Promise<FleetSimulator> {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-fleet-"));
    const fleet = new FleetSimulator(folder, options);
    const stop = () => void fleet.stop();
    options.signal?.addEventListener("abort", stop, { once: true });
    try {
      await fleet.#startDevices(options);
      return fleet;
    } catch (error) {
      await fleet.stop();
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", stop);
    }
  }

  get devices(): readonly SimulatedDevice[] {
    return this.#devices;
  }

  snapshot(): FleetSnapshot {
    const byVersion: Record<string, number> = {};
    const byActivity: Partial<Record<DeviceActivity, number>> = {};
    const sums = { online: 0, heartbeats: 0, crashes: 0, reboots: 0 };
    for (const device of this.#devices) {
      byVersion[device.version] = (byVersion[device.version] ?? 0) + 1;
      byActivity[device.activity] = (byActivity[device.activity] ?? 0) + 1;
      sums.online += device.connected ? 1 : 0;
      sums.heartbeats += device.acknowledged;
      sums.crashes += device.crashes;
      sums.reboots += device.reboots;
    }
    return { total: this.#devices.length, byVersion, byActivity, ...sums };
  }

  /** Calls the listener when something changed, at most ten times a second. @returns ends that */
  onChange(listener: (snapshot: FleetSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Stops all devices and removes their files. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #startDevices({ enrolConcurrency = 16, signal }: FleetSimulatorOptions): Promise<void> {
    const waiting = this.#devices.values();
    const work = async () => {
      for (const device of waiting) {
        signal?.throwIfAborted();
        await device.start();
      }
    };
    await Promise.all(Array.from({ length: enrolConcurrency }, work));
    signal?.throwIfAborted();
  }

  async #stopAll(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.stop()));
    clearTimeout(this.#notice);
    this.#listeners.clear();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #changed(): void {
    if (this.#listeners.size === 0) return;
    this.#notice ??= setTimeout(() => {
      this.#notice = undefined;
      const snapshot = this.snapshot();
      for (const listener of this.#listeners) listener(snapshot);
    }, noticeIntervalMs);
  }
}

function makeDevices(
  folder: string,
  options: FleetSimulatorOptions,
  onChange: () => void,
): readonly SimulatedDevice[] {
  const { allowUnsigned = false, seed = 1, models = defaultModels } = options;
  const prefix = options.serialPrefix ?? `sim-${randomBytes(4).toString("hex")}`;
  const slots = new Slots(options.downloadConcurrency ?? 16);
  const trust = trustIn(options.trustedKeys, { allowUnsigned });
  const behaviour = options.behaviour ?? behaviourByRates(options, seed);
  return Array.from({ length: options.count }, (_, index) => {
    const random = seededRandom(seed, "device", index);
    const model = models[index % models.length] ?? defaultModel;
    const slow = random() < (options.slowRate ?? 0);
    const unsteady = random() < (options.offlineRate ?? 0);
    return new SimulatedDevice({
      ...model,
      address: options.address,
      channelCredentials: options.channelCredentials,
      enrolmentKey: options.enrolmentKey,
      trust,
      index,
      serialNumber: `${prefix}-${String(index).padStart(5, "0")}`,
      factoryVersion: options.factoryVersion ?? "1.0.0",
      components: options.components,
      downloadPath: join(folder, String(index)),
      behaviour,
      random,
      logger: options.logger,
      clock: options.clock ?? systemClock,
      heartbeatIntervalMs: options.heartbeatIntervalMs,
      bytesPerSecond: slow ? (options.slowBytesPerSecond ?? 512 * 1024) : undefined,
      downloadSlot: slow ? undefined : (signal) => slots.acquire(signal),
      installMs: options.installMs ?? 200,
      rebootMs: options.rebootMs ?? 300,
      crashAfterMs: options.crashAfterMs ?? 1500,
      lateAfterMs: options.lateAfterMs ?? 5 * 60_000,
      driftAfterMs: options.driftAfterMs ?? 5 * 60_000,
      outages: unsteady
        ? { everyMs: options.outageEveryMs ?? 20_000, lastingMs: options.outageMs ?? 5000 }
        : undefined,
      ownConnection: options.ownConnections ?? true,
      maxRetryPauseMs: options.maxRetryPauseMs ?? 5000,
      onChange,
    });
  });
}

const defaultModel: FleetModel = { deviceType: "thermostat", hardwareModel: "tx-200" };
const defaultModels: readonly FleetModel[] = [
  defaultModel,
  { deviceType: "thermostat", hardwareModel: "tx-300" },
  { deviceType: "gateway", hardwareModel: "gw-10" },
];

/** The least time between two calls of a listener, in milliseconds. */
const noticeIntervalMs = 100;
