import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ChannelCredentials } from "@grpc/grpc-js";
import {
  Capability,
  type ClockQuality,
  ErrorReportSchema,
  type Heartbeat,
  HeartbeatSchema,
} from "../../gen/ota/v1/heartbeat_pb.js";
import { RpcClient } from "../client/rpc-client.ts";
import type { TokenSource } from "../client/token-source.ts";
import { isSameVersion } from "../version/compare-versions.ts";
import { isSemanticVersion } from "../version/semantic-version.ts";
import { AgentFailure } from "./agent-failure.ts";
import { ClockCheck } from "./clock-check.ts";
import { uploadCrashLog } from "./crash-log-upload.ts";
import { type CredentialOptions, DeviceCredential } from "./device-credential.ts";
import { DeviceMemory, remember } from "./device-memory.ts";
import type { DeviceStorage } from "./device-storage.ts";
import { HeartbeatBacklog } from "./heartbeat-backlog.ts";
import { HeartbeatSession, type SessionState } from "./heartbeat-session.ts";
import type { Installer, RunningFirmware } from "./installer.ts";
import { NetworkGate } from "./network-gate.ts";
import type { Trust } from "./offer-check.ts";
import type { ReEnrolment } from "./re-enrolment.ts";
import { reportedInterval } from "./reported-interval.ts";
import { withProduct, withRun } from "./run-history.ts";
import type { ErrorNote, Sensors } from "./sensors.ts";
import type { TokenKeeper } from "./token-rotation.ts";
import type { TufCheck, TufTrust } from "./tuf-check.ts";
import { UpdateEngine, type UpdatePhase } from "./update-engine.ts";

/** What an agent is made of. */
export interface DeviceAgentOptions extends CredentialOptions {
  /** Host and port of the service's gRPC door. */
  readonly address: string;
  /** TLS credentials; plaintext, on this machine alone, if left out. */
  readonly channelCredentials?: ChannelCredentials | undefined;
  readonly storage: DeviceStorage;
  readonly sensors: Sensors;
  readonly installer: Installer;
  /** Whom to trust to sign firmware. */
  readonly trust: Trust;
  /** The TUF metadata that must name firmware as well; by default none. */
  readonly tuf?: TufTrust | undefined;
  /** See `UpdateEngineOptions`. */
  readonly products?: ReadonlyMap<string, string> | undefined;
  /** See `UpdateEngineOptions`. */
  readonly maxFirmwareBytes?: number | undefined;
  /** How far the device's clock can be trusted; unless it is synchronised, nothing counts as expired. */
  readonly clockQuality?: ClockQuality;
  /** Most heartbeats kept while the service is away; then the oldest give way. Default 1,000. */
  readonly maxBacklog?: number;
  /** How often to beat, in milliseconds, whatever the service says; for simulated time only. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** See `UpdateEngineOptions`. */
  readonly userConsent?: (() => boolean) | undefined;
  /** See `UpdateEngineOptions`. */
  readonly timeZone?: string | undefined;
  /** See `UpdateEngineOptions`. */
  readonly readinessPatienceMs?: number | undefined;
  /** See `UpdateEngineOptions`. */
  readonly bytesPerSecond?: number | undefined;
  /** See `UpdateEngineOptions`. */
  readonly downloadSlot?: ((signal: AbortSignal) => Promise<() => void>) | undefined;
  /** Whether this device has a TCP connection of its own in this process. Default true. */
  readonly ownConnection?: boolean;
  readonly onState?: ((state: SessionState) => void) | undefined;
  readonly onPhase?: ((phase: UpdatePhase) => void) | undefined;
}

/**
 * The device side of the service: enrols, streams heartbeats and takes updates. One agent lives for one boot: after a
 * reboot a new one is made over the same storage, and its heartbeats, with another boot id, prove the new version.
 */
export class DeviceAgent implements AsyncDisposable {
  readonly #options: DeviceAgentOptions;
  readonly #clockCheck: ClockCheck;
  readonly #stop = new AbortController();
  readonly #gate = new NetworkGate();
  readonly #backlog: HeartbeatBacklog;
  #errors: ErrorNote[] = [];
  #components: Readonly<Record<string, string>> | undefined;
  #client: RpcClient | undefined;
  #memory: DeviceMemory | undefined;
  #session: HeartbeatSession | undefined;
  #engine: UpdateEngine | undefined;
  #done: Promise<unknown> = Promise.resolve();

  constructor(options: DeviceAgentOptions) {
    this.#options = options;
    this.#clockCheck = new ClockCheck(options.clock, options.clockQuality);
    this.#backlog = new HeartbeatBacklog(options.maxBacklog ?? 1000);
  }

  /**
   * Enrols if need be and goes to work; resolves once the device has its identity. Throws the service's error if that is
   * refused, and {@link AgentFailure} `INVALID_VERSION` if what runs has no semantic version.
   */
  async start(): Promise<void> {
    const { installer, sensors, storage } = this.#options;
    const memory = await DeviceMemory.open(storage);
    this.#memory = memory;
    this.#backlog.restore(await storage.loadBacklog());
    const running = await installer.running();
    if (!isSemanticVersion(running.version)) {
      throw new AgentFailure("INVALID_VERSION", `${running.version} is not a semantic version`);
    }
    this.#components = await installer.components?.();
    await settlePending(memory, running, sensors.bootId);
    await rememberRun(memory, { ...this.#components, "": running.version });
    const { signal } = this.#stop;
    const credential = new DeviceCredential({
      ...this.#options,
      memory,
      gate: this.#gate,
      newClient: (token) => this.#newClient(token),
    });
    await credential.obtain(running.version, signal);
    if (signal.aborted) return;
    const client = this.#newClient(credential.source());
    this.#client = client;
    const keeper = credential.keeper(client);
    const renewal = credential.renewal(running.version);
    const session = this.#newSession(client, memory, running, { keeper, renewal });
    const tuf = await this.#newTufCheck(client);
    const engine = this.#newEngine(client, memory, running, tuf);
    this.#session = session;
    this.#engine = engine;
    this.#done = Promise.allSettled([
      session.run(signal),
      engine.run(signal),
      tuf?.run(signal),
      keeper.run(signal),
    ]).then((results) => this.#logFaults(results));
  }

  /** The device's id; empty before it is enrolled. */
  get deviceId(): string {
    return this.#memory?.state.identity?.deviceId ?? "";
  }

  /** Heartbeats in numbers, since this boot. */
  get heartbeats(): { acknowledged: number; rejected: number; waiting: number; dropped: number } {
    return {
      acknowledged: this.#session?.acknowledged ?? 0,
      rejected: this.#session?.rejected ?? 0,
      waiting: this.#backlog.size,
      dropped: this.#backlog.dropped,
    };
  }

  /** Tells the service of an error or crash, with a heartbeat made at once. Beyond 16 waiting ones the oldest give way. */
  report(error: ErrorNote): void {
    this.#errors = [...this.#errors, error].slice(-maxErrorsPerBeat);
    this.#session?.beat();
  }

  /**
   * Uploads a crash log (of one beyond 1 MiB the end) and returns its id, for `crashLogId` of the error to report. Throws the
   * service's error if it refuses or cannot be reached, and {@link AgentFailure} `NOT_STARTED` before {@link start} is done.
   */
  async uploadCrashLog(log: string | Uint8Array): Promise<string> {
    if (this.#client === undefined) throw new AgentFailure("NOT_STARTED", "the agent is not started yet");
    return await uploadCrashLog(this.#client, log, this.#stop.signal);
  }

  /** Asks the service for an update now. */
  checkForUpdate(): void {
    this.#engine?.check();
  }

  /** Cuts the device off from the network for a while; heartbeats pile up meanwhile. */
  disconnect(ms: number): void {
    this.#gate.close(ms);
  }

  /** Ends on purpose: says goodbye with the reason and keeps what is not yet acknowledged for the next boot. */
  async stop(reason = "stop"): Promise<void> {
    await this.#session?.close(reason);
    await this.#end();
    await this.#options.storage.saveBacklog(this.#backlog.toBytes());
    await this.#memory?.close();
  }

  /** Ends like a device that lost power: no goodbye, nothing saved. */
  async kill(): Promise<void> {
    await this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    this.#client?.close();
  }

  #newClient(token: string | TokenSource | undefined): RpcClient {
    const { address, channelCredentials, ownConnection = true } = this.#options;
    return new RpcClient({
      address,
      token,
      ownConnection,
      userAgent: agentVersion,
      ...(channelCredentials === undefined ? {} : { channelCredentials }),
    });
  }

  #newSession(
    client: RpcClient,
    memory: DeviceMemory,
    running: RunningFirmware,
    { keeper, renewal }: { readonly keeper: TokenKeeper; readonly renewal: ReEnrolment },
  ): HeartbeatSession {
    const { heartbeatIntervalMs, logger, maxRetryPauseMs, sensors } = this.#options;
    return new HeartbeatSession({
      client,
      memory,
      logger,
      backlog: this.#backlog,
      gate: this.#gate,
      random: this.#options.random ?? Math.random,
      makeBeat: (sequence) => this.#makeBeat(sequence, memory, running),
      onServerTime: (time) => this.#clockCheck.told(time),
      hello: () => ({
        bootId: sensors.bootId,
        agentVersion,
        firmwareVersion: running.version,
        securityCounter: BigInt(memory.state.securityCounter),
        capabilities: [Capability.RESUME],
        clockQuality: this.#clockCheck.quality,
        ...reportedInterval(heartbeatIntervalMs),
        ...(running.imageSha256 === undefined ? {} : { imageSha256: running.imageSha256 }),
      }),
      onState: (state) => this.#options.onState?.(state),
      onRefused: (error) => renewal.after(error, this.#stop.signal),
      onUpdateAvailable: () => this.#engine?.check(),
      onCancelUpdate: (updateId) => this.#engine?.cancel(updateId),
      onRotateToken: () => keeper.rotate(),
      intervalMs: heartbeatIntervalMs,
      maxRetryPauseMs,
    });
  }

  async #newTufCheck(client: RpcClient): Promise<TufCheck | undefined> {
    const { logger, random = Math.random, tuf } = this.#options;
    if (tuf === undefined) return undefined;
    // Its library is loaded by those who follow metadata.
    const { TufCheck } = await import("./tuf-check.ts");
    return new TufCheck({ ...tuf, client, logger, random, report: (error) => this.report(error) });
  }

  #newEngine(
    client: RpcClient,
    memory: DeviceMemory,
    running: RunningFirmware,
    tuf: TufCheck | undefined,
  ): UpdateEngine {
    return new UpdateEngine({
      ...this.#options,
      tuf,
      client,
      memory,
      running,
      components: () => this.#components,
      componentsChanged: async () => {
        this.#components = await this.#options.installer.components?.();
        this.#session?.beat();
      },
      gate: this.#gate,
      random: this.#options.random ?? Math.random,
      onPhase: (phase) => this.#options.onPhase?.(phase),
      trustedTime: () => this.#clockCheck.trustedTime(),
    });
  }

  async #makeBeat(sequence: number, memory: DeviceMemory, running: RunningFirmware): Promise<Heartbeat> {
    const { sensors } = this.#options;
    const time = this.#clockCheck.time();
    const reading = await sensors.read();
    const errors = this.#errors.map((error) => create(ErrorReportSchema, error));
    this.#errors = [];
    return create(HeartbeatSchema, {
      ...reading,
      sequence: BigInt(sequence),
      ...(time === undefined ? {} : { deviceTime: timestampFromDate(time) }),
      firmwareVersion: running.version,
      bootId: sensors.bootId,
      uptime: durationFromMs(Math.round(sensors.uptimeMs())),
      securityCounter: BigInt(memory.state.securityCounter),
      errors,
      ...(this.#components === undefined ? {} : { components: { ...this.#components } }),
      ...(running.imageSha256 === undefined ? {} : { imageSha256: running.imageSha256 }),
    });
  }

  #logFaults(results: readonly PromiseSettledResult<void | undefined>[]): void {
    for (const result of results) {
      if (result.status === "rejected")
        this.#options.logger.error({ err: result.reason }, "the agent failed");
    }
  }
}

/**
 * Judges at boot the update that was installed before it. The floor of the security counter rises only now that the new
 * image has really booted, so that a device that falls back by itself can still run what it has.
 */
async function settlePending(memory: DeviceMemory, running: RunningFirmware, bootId: string): Promise<void> {
  const { pending, products, reverted, securityFloor } = memory.state;
  if (pending === undefined || pending.bootId === bootId) return;
  if (isSameVersion(running.version, pending.version)) {
    const { product, securityCounter } = pending;
    await memory.update({
      pending: undefined,
      securityCounter,
      securityFloor: Math.max(securityFloor, securityCounter),
      products: product === undefined ? products : withProduct(products, { component: "", product }),
    });
  } else {
    await memory.update({ pending: undefined, reverted: remember(reverted, pending.updateId) });
  }
}

/** Remembers the versions, by component, that run in this boot: the device may come back to them. */
async function rememberRun(memory: DeviceMemory, versions: Readonly<Record<string, string>>): Promise<void> {
  let { ran } = memory.state;
  for (const [component, version] of Object.entries(versions)) ran = withRun(ran, { component, version });
  if (ran !== memory.state.ran) await memory.update({ ran });
}

/** How the agent names itself. */
const agentVersion = "device-ota-agent/0.1.0";
/** Limit of `Heartbeat.errors`. */
const maxErrorsPerBeat = 16;
