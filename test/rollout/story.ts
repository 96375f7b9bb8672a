import { type Decision, decisionText, plan } from "../../src/rollout/decide/plan.ts";
import type { RolloutHealthVerdict } from "../../src/rollout/model/health-verdict.ts";
import { asRollout, type NewPolicy, type NewRollout } from "../../src/rollout/model/new-rollout.ts";
import type { Ring } from "../../src/rollout/model/rollout.ts";
import type { RingCounters } from "../../src/rollout/model/rollout-counters.ts";
import { firmware } from "./compiled-fixture.ts";
import { RolloutInMemory } from "./rollout-in-memory.ts";

/**
 * Plays a story of a rollout: what happens to its devices, line by line, with what the planner decides printed below each
 * line. Decisions are carried out on the rollout in memory, one after the other, until the plan is empty.
 *
 * `policy <JSON>`, `recalled <version>`, which makes it the way out of that, and `ring <name> <JSON of its gate>` come first, then `start`. `offer`, `begin`, `lose`, `return`, `succeed`,
 * `fail`, `time-out`, `cancel`, `drift` and `recover` `[ring] <devices>` move devices of the ring, the front one unless named: who succeeds or
 * fails began if need be, and it is missing devices that return and time out; `hold` `[ring] <devices>` says how many the ring holds, as counted then; `back <devices>` and `stuck <devices>` end
 * rollbacks; `wait <n>s|m|h` lets time pass; `health worse|ok <words>` is the verdict; `approve [ring]`, `pause` and `resume`
 * are the operator's. `#` begins a comment.
 */
export function play(script: string): string {
  const story = new Story();
  const printed = script
    .split("\n")
    .filter((line) => !line.startsWith(mark))
    .map((line) => {
      const command = line.replace(/#.*/, "").trim();
      const output = command === "" ? [] : story.take(command);
      return [line, ...output.map((text) => `${mark} ${text}`)].join("\n");
    });
  return printed.join("\n");
}

/** Begins the lines that are printed and not read. */
const mark = "  |";

class Story {
  #policy: NewPolicy = { pauseOnFailure: false };
  readonly #rings: NewRollout["rings"][number][] = [];
  #recalledVersion: string | undefined;
  #now = new Date("2026-03-02T12:00:00Z");
  #health: RolloutHealthVerdict | undefined;
  #rollout: RolloutInMemory | undefined;

  /** Takes a line; returns what the planner made of it, and how the rollout stands then if it was started. */
  take(line: string): string[] {
    const [verb = "", ...rest] = line.split(/\s+/);
    const text = rest.join(" ");
    if (verb === "policy") this.#setPolicy(JSON.parse(text) as StoryPolicy);
    else if (verb === "ring") this.#addRing(rest);
    else if (verb === "recalled") this.#recalledVersion = text;
    else this.#happen(verb, rest);
    if (this.#rollout === undefined) return [];
    const decisions = this.#settle();
    return [...decisions.map((decision) => `-> ${decisionText(decision)}`), ...this.#standing()];
  }

  #setPolicy({ startAt, ...policy }: StoryPolicy): void {
    const time = startAt === undefined ? {} : { startAt: new Date(startAt) };
    this.#policy = { ...this.#policy, ...policy, ...time };
  }

  #addRing([name = "", ...gate]: string[]): void {
    // Which devices are in a ring is no matter of the planner's.
    const percent = Math.min(100, 10 * (this.#rings.length + 1));
    this.#rings.push({ name, percent, gate: JSON.parse(gate.join(" ") || "{}") });
  }

  #happen(verb: string, rest: string[]): void {
    switch (verb) {
      case "start":
        this.#start();
        return;
      case "wait":
        this.#now = new Date(this.#now.getTime() + milliseconds(rest[0] ?? ""));
        return;
      case "health":
        this.#health = {
          verdict: rest[0] === "worse" ? "WORSE" : "NO_WORSE",
          message: rest.slice(1).join(" "),
        };
        return;
      case "pause":
        this.#running.move("pause");
        return;
      case "resume":
        this.#running.resume(this.#now);
        return;
      case "hold":
        this.#hold(this.#running.ring(rest.length > 1 ? rest[0] : undefined), Number(rest.at(-1)));
        return;
      case "approve":
        this.#running.setRing(this.#running.ring(rest[0]), { approver: "operator:other" });
        return;
      case "back":
      case "stuck":
        this.#endRollbacks(verb === "back" ? "completed" : "failed", Number(rest[0]));
        return;
      default:
        this.#moveDevices(verb, rest);
    }
  }

  #start(): void {
    const wanted: NewRollout = {
      firmwareId: firmware.id,
      name: "story",
      targeting: {},
      policy: this.#policy,
      rings: this.#rings,
    };
    const defaults = {
      failureThresholdPercent: 10,
      deviceTimeoutMs: milliseconds("6h"),
    };
    const draft = asRollout(firmware.id, wanted, firmware, defaults, this.#now);
    this.#rollout = new RolloutInMemory({
      ...draft,
      creator: "operator:story",
      recalledVersion: this.#recalledVersion,
    });
    this.#rollout.start(this.#now);
  }

  #moveDevices(verb: string, words: string[]): void {
    const [count = "", name] = words.toReversed();
    const ring = this.#running.ring(name);
    const by = Number(count);
    const { began, succeeded, failed, missing } = ring.counters;
    const present = Math.min(by, began - succeeded - failed - missing);
    const changes: Record<string, Partial<RingCounters>> = {
      offer: { offered: by, inProgress: by },
      begin: { began: by },
      lose: { missing: by },
      return: { missing: -by },
      succeed: { inProgress: -by, succeeded: by, began: by - present },
      fail: { inProgress: -by, failed: by, began: by - present },
      "time-out": { inProgress: -by, missing: -by, failed: by },
      cancel: { inProgress: -by, cancelled: by },
      drift: { drifted: by },
      recover: { drifted: -by },
    };
    const change = changes[verb];
    if (change === undefined || !Number.isInteger(by))
      throw new Error(`cannot read: ${verb} ${words.join(" ")}`);
    this.#running.setRing(ring, { counters: sum(ring.counters, change) });
  }

  /** Notes how many devices a ring holds, all of which may have the update. */
  #hold(ring: Ring, devices: number): void {
    const awaited = Math.max(0, devices - ring.counters.offered);
    this.#running.setRing(ring, {
      census: {
        devices,
        eligible: devices,
        awaited,
        reachable: awaited,
        heldBack: 0,
        gone: 0,
        countedAt: this.#now,
      },
    });
  }

  #endRollbacks(counter: "completed" | "failed", by: number): void {
    const { rollback } = this.#running.value;
    this.#running.set({ rollback: { ...rollback, [counter]: rollback[counter] + by } });
  }

  /** Carries plans out until there is nothing more to do. */
  #settle(): Decision[] {
    const all: Decision[] = [];
    for (;;) {
      const facts = { now: this.#now, health: this.#health, dueAlert: undefined };
      const decisions = plan(this.#running.value, facts);
      if (decisions.length === 0) return all;
      if (all.length > maxDecisions) throw new Error("the plan never ends");
      for (const decision of decisions) this.#running.act(decision, this.#now, () => this.#tellAll());
      all.push(...decisions);
    }
  }

  /** Every device that took the update is told to go back; what was updating is cancelled. */
  #tellAll(): void {
    let total = 0;
    for (const ring of this.#running.value.rings) {
      const { inProgress, succeeded, failed, began, missing, drifted } = ring.counters;
      const rolledBack = began - succeeded - failed;
      const cancelled = inProgress - rolledBack;
      // Whoever drifted went back by itself.
      total += began - drifted;
      this.#running.setRing(ring, {
        counters: sum(ring.counters, {
          inProgress: -inProgress,
          cancelled,
          rolledBack,
          began: -rolledBack,
          missing: -missing,
        }),
      });
    }
    this.#running.set({ rollback: { ...this.#running.value.rollback, total } });
  }

  #standing(): string[] {
    const { state, rings, rollback } = this.#running.value;
    const reached = rings.filter((ring) => ring.state !== "WAITING");
    return [
      state,
      ...reached.map((ring) => `${ring.name} ${ring.state}: ${countsText(ring.counters)}`),
      ...(rollback.total > 0 ? [`rollbacks: ${countsText(rollback)}`] : []),
    ];
  }

  get #running(): RolloutInMemory {
    if (this.#rollout === undefined) throw new Error("the rollout is not started");
    return this.#rollout;
  }
}

/** As in JSON. */
type StoryPolicy = Omit<NewPolicy, "startAt"> & { readonly startAt?: string };

const maxDecisions = 20;

function sum(counters: RingCounters, change: Partial<RingCounters>): RingCounters {
  const names = Object.keys(counters) as (keyof RingCounters)[];
  return Object.fromEntries(names.map((name) => [name, counters[name] + (change[name] ?? 0)])) as Record<
    keyof RingCounters,
    number
  >;
}

/** What is not zero. */
function countsText(counts: object): string {
  const entries = Object.entries(counts).filter(([, count]) => count !== 0);
  return entries.map(([name, count]) => `${count} ${name}`).join(", ") || "nobody";
}

function milliseconds(text: string): number {
  const [, count = "", unit = ""] = /^(\d+)([smh])$/.exec(text) ?? [];
  const factor = { s: 1_000, m: 60_000, h: 3_600_000 }[unit];
  if (factor === undefined) throw new Error(`no duration: ${text}`);
  return Number(count) * factor;
}
