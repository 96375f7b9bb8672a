import type { DurableHeartbeat } from "../../../src/device/state/heartbeat-record.ts";
import type { ReportableState } from "../../../src/rollout/model/device-update-state.ts";
import type { OpenUpdate } from "../../../src/rollout/model/open-update.ts";
import { returnTime } from "../../../src/rollout/model/return-time.ts";
import type { StoredPolicy } from "../../../src/rollout/model/rollout.entity.ts";
import type { CheckedDevice } from "../../../src/rollout/rules/rule.ts";
import { device as anyDevice } from "../compiled-fixture.ts";
import type { DeviceScript } from "./scenario.ts";
import { heartbeatIntervalMs, type SimulatedReplica } from "./simulated-replica.ts";

/** What a device does next. */
type Step = "ask" | "downloaded" | "install" | "reboot" | "beat" | "gone";

/** A device that asks, updates and beats as its script says. It does one thing at a time, and says when it does the next. */
export class SimulatedDevice {
  readonly script: DeviceScript;
  readonly #returnMs: number;
  readonly #idBytes: Buffer;
  #step: Step = "ask";
  #update: Readonly<OpenUpdate> | undefined;
  #version: string;
  #boot = 1;
  #bootedAtMs = -3_600_000;
  #sequence = 0;

  constructor(script: DeviceScript, policy: Readonly<StoredPolicy>) {
    this.script = script;
    this.#returnMs = returnTime(policy.returnMs, heartbeatIntervalMs);
    this.#version = script.version;
    this.#idBytes = Buffer.from(script.id.replaceAll("-", ""), "hex");
  }

  /** The 16 bytes of its id. */
  get idBytes(): Buffer {
    return this.#idBytes;
  }

  /** The text under which it reports what it runs. */
  get version(): string {
    return this.#version;
  }

  /** Whether it waits for something to be offered. */
  get isIdle(): boolean {
    return this.#step === "ask";
  }

  /** As the rules see it. */
  get checked(): CheckedDevice {
    const { id, pin } = this.script;
    return { ...anyDevice, id, firmwareVersion: this.#version, updatePin: pin, bootId: this.#bootId };
  }

  /** Does what is due at a time, at a replica; returns after how many milliseconds the next thing is due. */
  act(replica: SimulatedReplica, nowMs: number, receivedAt: Date): number | undefined {
    const { fate, askEveryMs } = this.script;
    if (fate === "dark") return this.#leave();
    switch (this.#step) {
      case "ask":
        this.#update = replica.check(this.checked, this.script.key);
        return this.#update === undefined ? askEveryMs : this.#begin(replica);
      case "downloaded":
        if (!this.#report(replica, "DOWNLOADED")) return this.#ask();
        this.#step = "install";
        return 0;
      case "install":
        if (!this.#report(replica, "INSTALLING")) return this.#ask();
        this.#step = "reboot";
        return this.script.installMs;
      case "reboot":
        return this.#reboot(replica, nowMs);
      case "beat":
        return this.#beat(replica, nowMs, receivedAt);
      case "gone":
        return undefined;
    }
  }

  #begin(replica: SimulatedReplica): number | undefined {
    const { fate, downloadMs } = this.script;
    if (fate === "fails" && this.#installs) {
      this.#report(replica, "FAILED");
      return this.#ask();
    }
    this.#report(replica, "DOWNLOADING");
    if (fate === "vanishes") return this.#leave();
    this.#step = "downloaded";
    return downloadMs;
  }

  #reboot(replica: SimulatedReplica, nowMs: number): number | undefined {
    const { fate, awayMs, reportsAs, version } = this.script;
    this.#report(replica, "REBOOTING");
    if (fate === "bricked" && this.#installs) return this.#leave();
    this.#boot += 1;
    if (fate !== "reverts" || !this.#installs) this.#version = this.#installs ? reportsAs : version;
    const away = fate === "slow" ? this.#returnMs * 1.5 + awayMs : awayMs;
    this.#bootedAtMs = nowMs + away;
    this.#step = "beat";
    return away;
  }

  #beat(replica: SimulatedReplica, nowMs: number, receivedAt: Date): number | undefined {
    replica.observe(this.#record(nowMs, receivedAt));
    // Once its update is over it need not be heard for the rollout: it asks from time to time.
    if (replica.isAt(this.script.id, this.#update?.id)) return Math.min(60_000, this.#returnMs / 2);
    return this.#ask();
  }

  #record(nowMs: number, receivedAt: Date): DurableHeartbeat {
    this.#sequence += 1;
    const crash = { code: "CRASH", severity: "CRITICAL", message: "", stack: "", fatal: true } as const;
    return {
      deviceId: this.script.id,
      epoch: 1,
      sequence: this.#sequence,
      receivedAt,
      firmwareVersion: this.#version,
      bootId: this.#bootId,
      uptimeMs: nowMs - this.#bootedAtMs,
      securityCounter: 0,
      errors: this.script.fate === "crashes" && this.#installs ? [crash] : [],
      metrics: undefined,
    };
  }

  #report(replica: SimulatedReplica, state: ReportableState): boolean {
    return replica.report(this.script.id, this.#update?.id ?? "", state, this.#bootId);
  }

  /** Whether it brings the new version, and does not go back. */
  get #installs(): boolean {
    return this.#update?.action !== "ROLLBACK";
  }

  get #bootId(): string {
    return `boot-${this.#boot}`;
  }

  #ask(): number {
    this.#step = "ask";
    return this.script.askEveryMs;
  }

  #leave(): undefined {
    this.#step = "gone";
    return undefined;
  }
}
