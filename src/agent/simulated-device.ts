import { rm } from "node:fs/promises";
import type { ChannelCredentials } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import { Alarm } from "../infra/alarm.ts";
import type { Clock } from "../infra/clock.ts";
import { DeviceAgent, type DeviceAgentOptions } from "./device-agent.ts";
import { MemoryDeviceStorage } from "./device-storage.ts";
import type { SessionState } from "./heartbeat-session.ts";
import { type FirmwareImage, type Installer, InstallFailure, type RunningFirmware } from "./installer.ts";
import type { Trust } from "./offer-check.ts";
import type { Behaviour } from "./simulated-behaviour.ts";
import { simulatedCrash } from "./simulated-crash.ts";
import { SimulatedSensors } from "./simulated-sensors.ts";
import type { UpdatePhase } from "./update-engine.ts";

/** What a simulated device is doing. */
export type DeviceActivity =
  | UpdatePhase
  | "enrolling"
  | "booting"
  | "crashed"
  | "offline"
  | "silent"
  | "stopped";

/** What a simulated device is and how it lives. */
export interface SimulatedDeviceOptions {
  readonly address: string;
  readonly channelCredentials: ChannelCredentials | undefined;
  readonly enrolmentKey: string;
  readonly trust: Trust;
  readonly index: number;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly factoryVersion: string;
  /** The applications that it comes with, version by component; undefined for none. */
  readonly components?: Readonly<Record<string, string>> | undefined;
  /** Where its one download is put. */
  readonly downloadPath: string;
  readonly behaviour: (version: string, device: { index: number; hardwareModel: string }) => Behaviour;
  readonly random: () => number;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly heartbeatIntervalMs: number | undefined;
  /** Highest download rate in bytes per second; undefined means as fast as it comes. */
  readonly bytesPerSecond: number | undefined;
  readonly downloadSlot: ((signal: AbortSignal) => Promise<() => void>) | undefined;
  /** How long an installation takes, in milliseconds. */
  readonly installMs: number;
  /** How long a reboot takes, in milliseconds. */
  readonly rebootMs: number;
  /** How long a crashing version runs before it crashes, in milliseconds. */
  readonly crashAfterMs: number;
  /** How long a late device stays away after the reboot into an update, in milliseconds. */
  readonly lateAfterMs: number;
  /** How long a device that drifts runs an update before it falls back, in milliseconds. */
  readonly driftAfterMs: number;
  /** For a device that loses the network now and then: the mean time between, and how long, in milliseconds. */
  readonly outages: { readonly everyMs: number; readonly lastingMs: number } | undefined;
  readonly ownConnection: boolean;
  readonly maxRetryPauseMs: number;
  readonly onChange: () => void;
}

/**
 * A device that exists only in memory but speaks with the service as a real one: a {@link DeviceAgent} for each boot, real
 * sockets, real downloads. Only what it installs is not executed; its {@link Behaviour} stands for that.
 */
export class SimulatedDevice {
  readonly #options: SimulatedDeviceOptions;
  readonly #sensors: SimulatedSensors;
  readonly #storage: MemoryDeviceStorage;
  readonly #stop = new AbortController();
  readonly #bell = new Alarm();
  /** Whether its user agrees to be updated. */
  userConsent = false;
  #agent: DeviceAgent | undefined;
  #life: Promise<void> = Promise.resolve();
  #version: string;
  #staged: string | undefined;
  /** What it will fall back to from the version that runs; undefined if it does not drift. */
  #fallback: string | undefined;
  /** From each version it falls back once. */
  readonly #driftedFrom = new Set<string>();
  #components: Readonly<Record<string, string>> | undefined;
  #rebooting = false;
  #activity: DeviceActivity = "enrolling";
  #connected = false;
  #acknowledged = 0;
  #crashes = 0;
  #boots = 0;

  constructor(options: SimulatedDeviceOptions) {
    this.#options = options;
    this.#version = options.factoryVersion;
    this.#components = options.components;
    this.#sensors = new SimulatedSensors(options.random);
    this.#storage = new MemoryDeviceStorage(options.downloadPath);
  }

  /** Boots for the first time and enrols. Throws what {@link DeviceAgent.start} throws. */
  async start(): Promise<void> {
    this.#stop.signal.throwIfAborted();
    const booted = this.#boot(undefined);
    this.#life = booted.then(
      (agent) => this.#live(agent),
      () => undefined,
    );
    this.#life = this.#life.catch((error: unknown) => {
      this.#options.logger.error({ err: error, device: this.#options.serialNumber }, "a device broke");
    });
    await booted;
  }

  /** Says goodbye and ends, also in the middle of a start. */
  async stop(): Promise<void> {
    this.#stop.abort();
    if (this.#activity === "enrolling") await this.#agent?.kill();
    await this.#life;
    await rm(this.#options.downloadPath, { force: true });
    this.#become("stopped");
  }

  /** Moves it to another network. */
  moveTo(network: NetworkType): void {
    this.#sensors.network = network;
  }

  /** Asks for an update now, if it is up: its user has agreed, or it is on another network. */
  checkForUpdate(): void {
    this.#agent?.checkForUpdate();
  }

  get deviceId(): string {
    return this.#agent?.deviceId ?? "";
  }

  /** The version that runs. */
  get version(): string {
    return this.#version;
  }

  /** The versions of its applications by component. */
  get components(): Readonly<Record<string, string>> {
    return this.#components ?? {};
  }

  get activity(): DeviceActivity {
    return this.#activity;
  }

  /** Whether the heartbeat stream stands. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Heartbeats that the service acknowledged, over all boots. */
  get acknowledged(): number {
    return this.#acknowledged + (this.#agent?.heartbeats.acknowledged ?? 0);
  }

  get crashes(): number {
    return this.#crashes;
  }

  get reboots(): number {
    return Math.max(0, this.#boots - 1);
  }

  async #live(first: DeviceAgent): Promise<void> {
    const signal = this.#stop.signal;
    let agent = first;
    for (;;) {
      const end = await this.#runUntilReboot(signal);
      const crashed = end === "crash";
      if (crashed) await agent.kill();
      else await agent.stop(signal.aborted ? "stop" : "reboot");
      this.#acknowledged += agent.heartbeats.acknowledged;
      this.#agent = undefined;
      this.#connected = false;
      if (signal.aborted) return;
      this.#become(crashed ? "crashed" : "booting");
      await new Alarm().wait(this.#options.rebootMs * (0.5 + this.#options.random()), signal);
      if (signal.aborted) return;
      if (end === "drift") this.#fallBack();
      const started = this.#startStagedVersion();
      const behaviour = this.#behaviour(this.#version);
      if (behaviour === "silent") return this.#become("silent");
      if (started && behaviour === "late") {
        this.#become("silent");
        await new Alarm().wait(this.#options.lateAfterMs, signal);
        if (signal.aborted) return;
      }
      agent = await this.#boot(crashed ? this.#version : undefined);
    }
  }

  /** @returns how the boot ended */
  async #runUntilReboot(signal: AbortSignal): Promise<"crash" | "drift" | "reboot"> {
    const { crashAfterMs, driftAfterMs, outages, random } = this.#options;
    const crashing = this.#behaviour(this.#version) === "crash";
    const crashAtMs = crashing ? performance.now() + crashAfterMs * (0.5 + random()) : never;
    const driftAtMs = this.#fallback === undefined ? never : performance.now() + driftAfterMs;
    while (!signal.aborted && !this.#rebooting) {
      const nowMs = performance.now();
      if (nowMs >= crashAtMs) {
        this.#crashes++;
        return "crash";
      }
      if (nowMs >= driftAtMs) return "drift";
      const outageInMs = outages === undefined ? never : outages.everyMs * 2 * random();
      const waitMs = Math.min(crashAtMs - nowMs, driftAtMs - nowMs, outageInMs);
      await this.#bell.wait(waitMs, signal);
      if (outages !== undefined && waitMs === outageInMs && !this.#rebooting && !signal.aborted) {
        await this.#loseNetwork(outages.lastingMs, signal);
      }
    }
    return "reboot";
  }

  async #loseNetwork(ms: number, signal: AbortSignal): Promise<void> {
    const activity = this.#activity;
    this.#agent?.disconnect(ms);
    this.#connected = false;
    this.#become("offline");
    await this.#bell.wait(ms, signal);
    if (this.#activity === "offline") this.#become(activity);
  }

  /** Boots what runs now, and tells of the crash that ended the boot before. */
  async #boot(crashedVersion: string | undefined): Promise<DeviceAgent> {
    this.#sensors.boot();
    this.#rebooting = false;
    this.#boots++;
    const agent = new DeviceAgent(this.#agentOptions());
    this.#agent = agent;
    if (crashedVersion !== undefined) agent.report(simulatedCrash(crashedVersion, this.#options.random));
    await agent.start();
    this.#become("idle");
    return agent;
  }

  #agentOptions(): DeviceAgentOptions {
    const { enrolmentKey, hardwareModel, serialNumber } = this.#options;
    return {
      ...this.#options,
      enrolment: { enrolmentKey, serialNumber, metadata: { simulated: "true", board: hardwareModel } },
      storage: this.#storage,
      sensors: this.#sensors,
      installer: this.#installer(),
      maxBacklog,
      readinessPatienceMs: 0,
      userConsent: () => this.userConsent,
      onState: (state: SessionState) => {
        this.#connected = state === "connected";
        this.#options.onChange();
      },
      onPhase: (phase: UpdatePhase) => this.#become(phase),
    };
  }

  #installer(): Installer {
    return {
      running: (): Promise<RunningFirmware> => Promise.resolve({ version: this.#version }),
      components: () => Promise.resolve(this.#components ?? {}),
      install: async (image: FirmwareImage, signal: AbortSignal): Promise<void> => {
        await new Alarm().wait(this.#options.installMs * (0.5 + this.#options.random()), signal);
        signal.throwIfAborted();
        if (this.#behaviour(image.version) === "fail_install") {
          throw new InstallFailure(`the flash rejected ${image.version}`);
        }
        if (image.component === "") this.#staged = image.version;
        else if (this.#behaviour(image.version) !== "revert")
          this.#components = { ...this.#components, [image.component]: image.version };
      },
      reboot: async (_update, signal: AbortSignal): Promise<void> => {
        this.#rebooting = true;
        this.#bell.ring();
        await new Alarm().wait(maxRebootWaitMs, signal);
      },
    };
  }

  /** @returns whether it runs another version from now on */
  #startStagedVersion(): boolean {
    const staged = this.#staged;
    this.#staged = undefined;
    if (staged === undefined || this.#behaviour(staged) === "revert") return false;
    const drifts = this.#behaviour(staged) === "drift" && !this.#driftedFrom.has(staged);
    this.#fallback = drifts ? this.#version : undefined;
    this.#version = staged;
    return true;
  }

  #fallBack(): void {
    this.#driftedFrom.add(this.#version);
    this.#version = this.#fallback ?? this.#version;
    this.#fallback = undefined;
  }

  #behaviour(version: string): Behaviour {
    const { behaviour, factoryVersion, hardwareModel, index } = this.#options;
    const does = behaviour(version, { index, hardwareModel });
    // The version that it came with was never installed, and so cannot fail to be; but it can crash.
    return version === factoryVersion && does !== "crash" ? "healthy" : does;
  }

  #become(activity: DeviceActivity): void {
    if (this.#activity === activity) return;
    this.#activity = activity;
    this.#options.onChange();
  }
}

/** In milliseconds. */
const never = Number.POSITIVE_INFINITY;

/** Heartbeats that a simulated device keeps while it is cut off: many devices share one machine's memory. */
const maxBacklog = 100;
/** How long an installed device waits to be rebooted, in milliseconds; it happens at once. */
const maxRebootWaitMs = 60_000;
