import TinyQueue from "tinyqueue";
import { seededRandom } from "../../../src/agent/seeded-random.ts";
import type { Firmware } from "../../../src/firmware/firmware.ts";
import type { MachineClock } from "../../../src/infra/clock.ts";
import { decisionText } from "../../../src/rollout/decide/plan.ts";
import { asRollout } from "../../../src/rollout/model/new-rollout.ts";
import { frontRing, type Rollout } from "../../../src/rollout/model/rollout.ts";
import { widenedReach } from "../../../src/rollout/preview/widened-rings.ts";
import { compileRollout } from "../../../src/rollout/rules/compiled-rollout.ts";
import { firmware as anyFirmware } from "../compiled-fixture.ts";
import { Oracle, Violation } from "./oracle.ts";
import { countRings } from "./ring-counts.ts";
import { RolloutStore } from "./rollout-store.ts";
import { newVersion, type Scenario } from "./scenario.ts";
import { SimulatedDevice } from "./simulated-device.ts";
import { SimulatedReplica } from "./simulated-replica.ts";

/** How a run went. */
export interface Outcome {
  /** How the rollout stood in the end. */
  readonly rollout: Rollout;
  /** Decisions that were carried out. */
  readonly decisions: number;
  /** Transactions that wrote how devices' updates go. */
  readonly writes: number;
  /** When it first was paused or rolled back; undefined if it never was. */
  readonly stoppedAtMs: number | undefined;
  /** Devices that began to install by then, or by the end. */
  readonly began: number;
  /** What happened, line by line. */
  readonly story: readonly string[];
  /** What must not have happened; undefined if nothing did. */
  readonly violation: string | undefined;
}

/** Plays a scenario to its end. The same scenario is played in the same way each time. */
export async function simulate(scenario: Scenario): Promise<Outcome> {
  return new Simulation(scenario).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #random: () => number;
  readonly #firmware: Firmware;
  readonly #store: RolloutStore;
  readonly #oracle: Oracle;
  readonly #devices = new Map<string, SimulatedDevice>();
  readonly #replicas: SimulatedReplica[];
  readonly #due = new TinyQueue<{ atMs: number; order: number; act: () => void }>(
    [],
    (a, b) => a.atMs - b.atMs || a.order - b.order,
  );
  /** Counts the turns that devices were promised: only the last one of each is taken. */
  readonly #turns = new Map<SimulatedDevice, number>();
  readonly #story: string[] = [];
  #order = 0;
  #ids = 0;
  #nowMs = 0;
  #decisions = 0;
  #writes = 0;
  #changedAtMs = 0;
  /** Devices that were offered the update by then, and since when it has been so many. */
  #offered = { devices: 0, sinceMs: 0 };
  #countedAt: string | undefined;
  #stopped: { readonly atMs: number; readonly began: number } | undefined;
  #operated = false;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#random = seededRandom("what chance does", scenario.seed);
    this.#firmware = { ...anyFirmware, ...plainFirmware, id: uuidOf(scenario.seed) };
    const { policy, rings, devices } = scenario;
    const wanted = { firmwareId: this.#firmware.id, name: "simulated", targeting: {}, policy, rings };
    const draft = asRollout(
      uuidOf(scenario.seed),
      wanted,
      this.#firmware,
      serviceDefaults,
      new Date(startMs),
    );
    this.#store = new RolloutStore(draft, {
      baseMissing: scenario.baseMissing,
      newId: this.#newId,
      watcher: {
        wrote: (deviceId) => {
          this.#writes += 1;
          this.#changedAtMs = this.#nowMs;
          const { devices } = this.#store.rows;
          if (devices > this.#offered.devices) this.#offered = { devices, sinceMs: this.#nowMs };
          this.#oracle.wrote(deviceId);
        },
        decides: (decision, locked) => {
          this.#decisions += 1;
          this.#changedAtMs = this.#nowMs;
          this.#tell(decisionText(decision));
          this.#oracle.decides(decision, locked);
        },
      },
    });
    const fates = new Map(devices.map(({ id, fate }) => [id, fate]));
    const setBacks = scenario.clockSteps.filter(({ byMs }) => byMs < 0).length;
    this.#oracle = new Oracle(this.#store.rows, (deviceId) => fates.get(deviceId), setBacks);
    this.#replicas = Array.from({ length: scenario.replicas }, (_, at) => this.#newReplica(at));
    for (const script of devices) {
      const device = new SimulatedDevice(script, draft.policy);
      this.#at(Math.max(0, script.joinsAtMs), () => this.#devices.set(script.id, device));
      this.#schedule(device, script.asksAtMs);
      const { retiresAtMs } = script;
      if (retiresAtMs !== undefined) this.#at(retiresAtMs, () => this.#retire(script.id));
    }
  }

  async run(): Promise<Outcome> {
    let violation: string | undefined;
    try {
      this.#store.start(this.#sharedNow());
      for (let lookMs = 0; !this.#isOver(); lookMs += lookEveryMs) {
        for (let due = this.#due.peek(); due !== undefined && due.atMs <= lookMs; due = this.#due.peek()) {
          this.#nowMs = due.atMs;
          this.#due.pop();
          due.act();
        }
        this.#nowMs = lookMs;
        await this.#look();
      }
      const { state, alert } = this.#store.read();
      const waits = alert === "" && (state === "RUNNING" || state === "ROLLING_BACK");
      // A large fleet that is updated one by one takes longer than anybody looks.
      if (waits && this.#nowMs - this.#offered.sinceMs >= goesOnWithinMs)
        throw new Violation(`it is ${state} for ever, and says nothing`);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      violation = error.message;
      this.#tell(`WRONG: ${violation}`);
    }
    const rollout = this.#store.read();
    return {
      rollout,
      decisions: this.#decisions,
      writes: this.#writes,
      stoppedAtMs: this.#stopped?.atMs,
      began: this.#stopped?.began ?? this.#began(),
      story: this.#story,
      violation,
    };
  }

  /** Each replica looks at what there is, and both decide from what they read before either does anything. */
  async #look(): Promise<void> {
    const isAway = isDuring(this.#scenario.outages, this.#nowMs);
    const awake = this.#replicas.filter((_, at) => !this.#isFrozen(at));
    const looking: SimulatedReplica[] = [];
    for (const replica of awake) if (await replica.look(isAway)) looking.push(replica);
    if (looking.length === 0) return;
    this.#census();
    for (let rounds = 0; looking.map((replica) => replica.decide()).includes(true); rounds++) {
      if (rounds > maxRounds) throw new Violation("what is planned is never done");
    }
    const rollout = this.#store.read();
    if (rollout.state !== "RUNNING" && this.#stopped === undefined && rollout.state !== "COMPLETED") {
      this.#stopped = { atMs: this.#nowMs, began: this.#began() };
      this.#wake();
    }
    this.#oracle.watch(rollout, frontRing(rollout.rings), lookEveryMs);
    this.#operate(rollout);
  }

  #census(): void {
    const rollout = this.#store.read();
    const front = frontRing(rollout.rings);
    if (rollout.state !== "RUNNING" || front?.state !== "OPEN") return;
    // What did not change need not be counted again.
    const as = `${this.#store.log.length} ${this.#devices.size} ${rollout.revision} ${this.#store.retired.size}`;
    const everyMs = this.#devices.size > largeFleet ? 4 * censusEveryMs : censusEveryMs;
    if (front.census !== undefined && (this.#countedAt === as || this.#nowMs % everyMs !== 0)) return;
    const nowMs = this.#sharedNow().getTime();
    const brought = { firmware: this.#firmware, blocked: undefined };
    const compiled = compileRollout(rollout, brought, { heartbeatIntervalMs: 60_000 });
    const living = this.#devices.values().filter(({ script }) => !this.#store.retired.has(script.id));
    const places = countRings(compiled, living, this.#store.rows, nowMs);
    const reach = widenedReach(rollout.rings, places);
    if (reach === undefined) {
      this.#countedAt = as;
      return this.#store.count(places.rings, this.#sharedNow());
    }
    this.#tell(`the first ring reaches ${reach / 100} %`);
    this.#store.widen(reach);
    this.#wake();
    this.#census();
  }

  #operate({ state, alert, stateReason }: Rollout): void {
    const front = frontRing(this.#store.read().rings);
    const byHand = state === "RUNNING" && front?.gate.manual === true && front.gateHeldSince !== undefined;
    if (state !== "PAUSED" && alert === "" && !byHand) return;
    if (this.#nowMs - this.#changedAtMs < 60_000) return;
    const { operator } = this.#scenario;
    const verb = byHand && alert === "" ? "promote" : operator;
    if (verb === "nothing" || (this.#operated && verb !== "promote")) return;
    if (verb === "resume" ? state !== "PAUSED" : verb === "promote" && state !== "RUNNING") return;
    if (verb === "promote" && this.#operated && !byHand) return;
    this.#operated ||= !byHand;
    this.#tell(`the operator does ${verb}: ${alert || stateReason || "its gate holds"}`);
    if (verb === "promote") this.#oracle.promotedByHand(this.#store.read());
    this.#store.operate(verb, this.#sharedNow());
    this.#changedAtMs = this.#nowMs;
    this.#wake();
  }

  /** Devices on streams are told at once that something may wait for them. */
  #wake(): void {
    for (const device of this.#devices.values()) {
      const { streams, asksAtMs } = device.script;
      if (device.isIdle && streams && asksAtMs <= this.#nowMs)
        this.#schedule(device, this.#nowMs + Math.floor(this.#random() * 5_000));
    }
  }

  /** A device's next turn, instead of the one that it would have had. */
  #schedule(device: SimulatedDevice, atMs: number): void {
    const turn = (this.#turns.get(device) ?? 0) + 1;
    this.#turns.set(device, turn);
    this.#at(atMs, () => {
      if (this.#turns.get(device) === turn) this.#act(device);
    });
  }

  /** A device does what is due, at a replica that can hear it, or tries again a little later. */
  #act(device: SimulatedDevice): void {
    if (this.#store.retired.has(device.script.id)) return;
    const at = Math.floor(this.#random() * this.#replicas.length);
    const replica = this.#replicas[at];
    if (replica === undefined || this.#isFrozen(at) || isDuring(this.#scenario.outages, this.#nowMs))
      return this.#schedule(device, this.#nowMs + 5_000);
    const afterMs = device.act(replica, this.#nowMs, this.#sharedNow());
    if (afterMs !== undefined) this.#schedule(device, this.#nowMs + afterMs);
  }

  #retire(deviceId: string): void {
    this.#store.retire(deviceId, this.#sharedNow());
  }

  /** Nothing happens any more, or too much time has passed for anything to be waited for. */
  #isOver(): boolean {
    if (this.#nowMs >= horizonMs) return true;
    if (this.#nowMs - this.#changedAtMs < settledAfterMs) return false;
    const { state, alert, rings } = this.#store.read();
    const open = rings.reduce((sum, { counters }) => sum + counters.inProgress - counters.missing, 0);
    if (open > 0) return false;
    return (state !== "RUNNING" || alert !== "") && state !== "ROLLING_BACK";
  }

  #began(): number {
    let began = 0;
    for (const { update } of this.#store.rows.all()) {
      if (update.action !== "ROLLBACK" && update.installingAtMs !== undefined) began += 1;
    }
    return began;
  }

  #newReplica(at: number): SimulatedReplica {
    const clock = this.#replicaClock(at);
    return new SimulatedReplica({
      store: this.#store,
      firmware: this.#firmware,
      clock,
      random: this.#random,
      newId: this.#newId,
    });
  }

  /** The clocks of a replica: the one that all share may be set, the others go on unless its machine sleeps. */
  #replicaClock(at: number): MachineClock {
    const sleeps = this.#scenario.freezes.filter(({ replica, asleep }) => replica === at && asleep);
    return {
      now: () => this.#sharedNow(),
      monotonicMs: () => this.#nowMs - coveredMs(sleeps, this.#nowMs),
      sinceBootMs: () => this.#nowMs,
    };
  }

  /** The time by the clock that all replicas share. */
  #sharedNow(): Date {
    let ms = startMs + this.#nowMs;
    for (const { atMs, byMs } of this.#scenario.clockSteps) if (atMs <= this.#nowMs) ms += byMs;
    return new Date(ms);
  }

  #isFrozen(at: number): boolean {
    return this.#scenario.freezes.some(
      ({ replica, atMs, forMs }) => replica === at && atMs <= this.#nowMs && this.#nowMs < atMs + forMs,
    );
  }

  #at(atMs: number, act: () => void): void {
    this.#due.push({ atMs, order: this.#order++, act });
  }

  /** Ids rise with time, as those of version 7 do. */
  readonly #newId = (): string => String(++this.#ids).padStart(12, "0");

  #tell(what: string): void {
    const { state, rings } = this.#store.read();
    const counts = rings
      .filter((ring) => ring.state !== "WAITING")
      .map(({ name, counters: { offered, began, succeeded, failed, missing } }) => {
        return `${name} ${offered}/${began}/${succeeded}/${failed}/${missing}`;
      });
    this.#story.push(`${(this.#nowMs / 60_000).toFixed(1)} min ${state} ${counts.join(" ")} | ${what}`);
  }
}

/** How much of the time until now lies in one of the spans. */
function coveredMs(
  spans: readonly { readonly atMs: number; readonly forMs: number }[],
  nowMs: number,
): number {
  let [covered, endMs] = [0, 0];
  for (const { atMs, forMs } of spans.toSorted((a, b) => a.atMs - b.atMs)) {
    const fromMs = Math.max(atMs, endMs);
    covered += Math.max(0, Math.min(nowMs, atMs + forMs) - fromMs);
    endMs = Math.max(endMs, atMs + forMs);
  }
  return covered;
}

function isDuring(
  spans: readonly { readonly atMs: number; readonly forMs: number }[],
  nowMs: number,
): boolean {
  return spans.some(({ atMs, forMs }) => atMs <= nowMs && nowMs < atMs + forMs);
}

/** A UUID that only this seed has: the rollout's id, which spreads its devices over the rings. */
function uuidOf(seed: number): string {
  const hex = seed.toString(16).padStart(12, "0");
  return `0190c0de-0000-7000-8000-${hex}`;
}

const plainFirmware = {
  version: newVersion,
  deviceTypes: ["thermostat"],
  minBatteryPercent: 0,
  minFreeStorageBytes: 0,
  minCurrentVersion: "",
  securityCounter: 5,
};

/** What the service's settings give by default. */
const serviceDefaults = {
  failureThresholdPercent: 10,
  deviceTimeoutMs: 6 * 3_600_000,
};

const startMs = Date.parse("2026-03-02T12:00:00Z");

/** The service looks about every second; more often than this changes nothing but the time that a run takes. */
const lookEveryMs = 10_000;

const censusEveryMs = 30_000;

/** Large ones are counted more rarely, as by the service. */
const largeFleet = 500;

const settledAfterMs = 40 * 60_000;

/** The longest deadline, and as far as clocks are set back: what is not over by then never will be. */
const horizonMs = 72 * 3_600_000;

/** The longest deadline with its tries: a rollout that goes on offers its update to another device within that. */
const goesOnWithinMs = 24 * 3_600_000;

/** Decisions at one time: each ring may be passed at once. */
const maxRounds = 20;
