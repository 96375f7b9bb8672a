import fc from "fast-check";
import { expect } from "vitest";
import { OtaError } from "../../src/errors.ts";
import type { OpenUpdate } from "../../src/rollout/model/open-update.ts";
import { eventually } from "../support/eventually.ts";
import {
  actor,
  Fleet,
  type Replica,
  release,
  report,
  type SimulatedDevice,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const minute = 60_000;
const fleetSize = 10;
/** How many compete. */
export const rolloutCount = 4;
const gate = { minSample: 1, minSuccessPercent: 50, soakMs: minute, manual: false };

/** A rollout among others. */
export const plan = fc.record({
  component: fc.constantFrom("", "", "nav", "maps"),
  /** Versions rise with it. */
  age: fc.integer({ min: 1, max: 3 }),
  priority: fc.integer({ min: -1, max: 1 }),
  groups: fc.constantFrom<string[]>([], ["a"], ["b"], ["a", "b"]),
  percent: fc.constantFrom(60, 100),
  firstRing: fc.constantFrom(30, 60),
  maxInProgress: fc.constantFrom(3, 100),
  maxRetries: fc.nat(1),
});
type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never;

/** Something that happens to it, or to one of its devices. */
export const step = fc.record({
  kind: fc.constantFrom(
    "check",
    "check",
    "check",
    "go_on",
    "go_on",
    "go_on",
    "fail",
    "revert",
    "wait",
    "verb",
  ),
  device: fc.nat(fleetSize - 1),
  replica: fc.nat(1),
  rollout: fc.nat(rolloutCount - 1),
  verb: fc.constantFrom(
    "promote",
    "promote",
    "pause",
    "resume",
    "rollback",
    "rollbackRing",
    "abort" as const,
  ),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Where it all happens. */
export interface Place {
  readonly world: World;
  readonly replicas: readonly [Replica, Replica];
}

/** A fleet of its own with the rollouts that are for it alone. */
export interface Scene {
  readonly place: Place;
  readonly fleet: Fleet;
  /** The rollouts. */
  readonly ids: readonly string[];
  readonly groups: ReadonlyMap<string, readonly string[]>;
  readonly pins: ReadonlyMap<string, "none" | "canary" | "excluded">;
  /** Who was in a ring that makes offers, by rollout and replica: one may be behind the other for a moment. */
  readonly reached: Map<string, ReadonlySet<string>>;
  /** How updates ended. */
  readonly ended: Map<string, string>;
  /** Offers that were made, and those of which the explanation had said so before. */
  offers: number;
  agreed: number;
}

export async function openScene(place: Place, run: number, plans: readonly Plan[]): Promise<Scene> {
  const { world, replicas } = place;
  const [first, second] = replicas;
  const tag = `run-${run}`;
  const fleet = await Fleet.enrol(world, fleetSize);
  const groups = new Map(
    fleet.devices.map(({ id }, at) => [id, [["a"], ["b"], ["a", "b"]][at % 3] ?? []] as const),
  );
  const pins = new Map(
    fleet.devices.map(({ id }, at) => {
      if (at === 0) return [id, "excluded"] as const;
      return [id, at === 1 ? "canary" : "none"] as const;
    }),
  );
  for (const device of fleet.devices) {
    device.components = { nav: "1.0.0" };
    await world.database.adminPool.query(
      "UPDATE devices SET groups = $2, tags = ARRAY[$3], update_pin = $4 WHERE id = $1::uuid",
      [device.id, groups.get(device.id), tag, pins.get(device.id)],
    );
  }
  for (const component of ["", "nav", "maps"]) await release(world, `${run}.0.0`, { component });
  for (const device of fleet.devices) device.version = `${run}.0.0`;
  for (const replica of replicas) fleet.beat(replica);
  const ids: string[] = [];
  for (const [at, each] of plans.entries()) {
    const { component, priority, maxInProgress, maxRetries } = each;
    const firmwareId = await release(world, `${run}.${each.age}.${at}`, { component });
    const { id } = await first.engine.catalog.create(
      wanted(firmwareId, {
        targeting: { tags: [tag], groups: each.groups, percent: each.percent },
        policy: {
          pauseOnFailure: false,
          failureMinSample: 2,
          failureThresholdPercent: 60,
          verificationMs: minute,
          deviceTimeoutMs: 60 * minute,
          returnMs: 5 * minute,
          retryBackoffMs: minute,
          priority,
          maxInProgress,
          maxRetries,
        },
        rings: [
          { name: "first", percent: each.firstRing, gate },
          { name: "all", percent: 100, gate },
        ],
      }),
      { actor },
    );
    await first.engine.catalog.start({ id, actor, reason: "" });
    ids.push(id);
  }
  await eventually(() => {
    for (const id of ids) expect(second.engine.index.get(id)).toBeDefined();
  });
  return { place, fleet, ids, groups, pins, reached: new Map(), ended: new Map(), offers: 0, agreed: 0 };
}

export async function take(scene: Scene, each: Step): Promise<void> {
  const replica = scene.place.replicas[each.replica] ?? scene.place.replicas[0];
  const device = scene.fleet.devices[each.device];
  if (device === undefined) throw new Error("no device");
  const open = replica.engine.tracker.get(device.id);
  switch (each.kind) {
    case "check":
      return check(scene, replica, device);
    case "go_on":
      return open === undefined ? check(scene, replica, device) : goOn(scene, replica, device, open);
    case "fail":
      if (open !== undefined) await report(replica, device.id, open.id, "FAILED", "MADE_UP");
      return;
    case "revert":
      scene.fleet.reboot(device);
      return beat(scene, device);
    case "wait":
      scene.place.world.clock.advance(2 * minute);
      beat(scene);
      return await replica.engine.tick();
    case "verb":
      return await steer(scene, replica, each);
  }
}

/** Rolls back all that can be, stops the others, and waits until nothing of it is open any more. */
export async function end(scene: Scene): Promise<void> {
  const [{ engine }] = scene.place.replicas;
  for (const id of scene.ids) {
    const call = { id, actor, reason: "" };
    if (!(await permitted(() => engine.catalog.rollback(call))))
      await permitted(() => engine.catalog.abort(call));
  }
  await eventually(async () => {
    scene.place.world.clock.advance(61 * minute);
    await engine.tick();
    for (const id of scene.ids) {
      expect((await engine.catalog.get(id)).state).toMatch(/^(?:ROLLED_BACK|ABORTED)$/);
    }
  });
  // An aborted rollout lets devices that are installing go on; their deadlines end them.
  await eventually(async () => {
    scene.place.world.clock.advance(61 * minute);
    for (const replica of scene.place.replicas) await replica.engine.tick();
    for (const { engine: each } of scene.place.replicas) expect(each.tracker.size).toBe(0);
  });
}

/** What the explanations say of each rollout is what the check then does. */
async function check(scene: Scene, replica: Replica, device: SimulatedDevice): Promise<void> {
  const { rows: open } = await scene.place.world.database.adminPool.query(
    "SELECT 1 FROM device_updates WHERE device_id = $1::uuid AND ended_at IS NULL",
    [device.id],
  );
  const { expected, known } = await explain(scene, replica, device);
  const answer = await scene.fleet.check(replica, device);
  if (answer.kind === "offer") scene.offers += 1;
  // What is open is offered again. And meanwhile a ring may have been opened, or a place have been taken.
  const offered = answer.kind === "offer" ? answer.update : undefined;
  if (open.length > 0 || known !== whatIsKnown(scene, replica, { offered })) return;
  if (offered !== undefined) {
    expect(expected).toEqual([offered.rolloutId]);
    scene.agreed += 1;
  } else if (answer.kind === "none" && expected.length > 0) {
    // Memory was behind what the database says.
    expect(answer.reason).toMatch(/^(?:RING_NOT_OPEN|ROLLOUT_PAUSED|TOO_MANY_IN_PROGRESS)$/);
  }
}

/** The rollouts whose update the device would be offered, by all that the replica knew in one moment, the last one. */
async function explain(
  scene: Scene,
  replica: Replica,
  device: SimulatedDevice,
): Promise<{ readonly expected: string[]; readonly known: string }> {
  const { explainer, tracker } = replica.engine;
  const atDevice = (): string => {
    const update = tracker.get(device.id);
    return `${whatIsKnown(scene, replica)} ${update?.id} ${update?.state} ${update?.notBeforeMs}`;
  };
  for (;;) {
    const before = atDevice();
    const explained = await Promise.all(
      scene.ids.map(async (id) => [id, (await explainer.explain(id, device.id)).reason] as const),
    );
    if (before !== atDevice()) continue;
    const expected = explained.filter(([, reason]) => reason === undefined).map(([id]) => id);
    return { expected, known: whatIsKnown(scene, replica) };
  }
}

/**
 * What the replica has in memory of the rollouts, apart from the offer that it just made: while it stays the same, it
 * decides in the same way.
 */
function whatIsKnown(
  scene: Scene,
  { engine }: Replica,
  { offered }: { readonly offered?: Pick<OpenUpdate, "rolloutId"> | undefined } = {},
): string {
  return scene.ids
    .map((id) => {
      const inProgress = engine.tracker.inProgress(id) - (id === offered?.rolloutId ? 1 : 0);
      return `${engine.index.get(id)?.rollout.revision} ${inProgress}`;
    })
    .join();
}

/** The next thing that a device does that goes on with its update. */
async function goOn(
  scene: Scene,
  replica: Replica,
  device: SimulatedDevice,
  open: Readonly<OpenUpdate>,
): Promise<void> {
  const { component, id, state, toVersion } = open;
  const next = ({ OFFERED: "DOWNLOADING", DOWNLOADING: "INSTALLING" } as const)[state as "OFFERED"];
  if (next !== undefined) {
    await report(replica, device.id, id, next);
    return;
  }
  scene.place.world.clock.advance(state === "VERIFYING" ? 2 * minute : 5_000);
  if (state !== "VERIFYING") {
    if (component === "") scene.fleet.reboot(device, toVersion);
    else device.components = { ...device.components, [component]: toVersion };
  }
  beat(scene, device);
}

function beat(scene: Scene, ...devices: SimulatedDevice[]): void {
  for (const replica of scene.place.replicas)
    scene.fleet.beat(replica, devices.length === 0 ? scene.fleet.devices : devices);
}

async function steer(scene: Scene, { engine }: Replica, { rollout, verb }: Step): Promise<void> {
  const call = { id: scene.ids[rollout] ?? "", actor, reason: "" };
  await permitted(() =>
    verb === "rollbackRing"
      ? engine.catalog.rollbackRing({ ...call, ring: "first" })
      : engine.catalog[verb](call),
  );
}

/** Whether it was done. What the states do not allow, or what has nothing to do, is refused, and that is all right. */
async function permitted(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof OtaError && refusals.has(error.reason)) return false;
    throw error;
  }
}

const refusals: ReadonlySet<string> = new Set(["ILLEGAL_TRANSITION", "NOTHING_TO_DO"]);
