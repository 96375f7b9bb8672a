import { expect } from "vitest";
import type { NewRollout } from "../../../src/rollout/model/new-rollout.ts";
import type { OpenUpdate } from "../../../src/rollout/model/open-update.ts";
import type { Rollout } from "../../../src/rollout/model/rollout.ts";
import {
  createWorld,
  expectExactCounters,
  Fleet,
  type Replica,
  release,
  type SimulatedDevice,
  startReplica,
  until,
  type World,
} from "../rollout-fixture.ts";

export const fleetSize = 2_000;

export const minute = 60_000;
export const hour = 60 * minute;
export const day = 24 * hour;

/** An offer and the device that got it. */
export type Taken = readonly [SimulatedDevice, Readonly<OpenUpdate>];

/** Gates that ask for a minute of mostly well devices; no ring is judged by a handful. */
export const gate = { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: false };

export const oneRing: NewRollout["rings"] = [{ name: "all", percent: 100, gate }];

/** The fleet, all of it on 1.0.0 and known by its heartbeats, and one replica that serves it. */
export interface Scene extends AsyncDisposable {
  readonly world: World;
  readonly replica: Replica;
  readonly fleet: Fleet;
}

export async function openScene(open: () => Promise<World> = createWorld): Promise<Scene> {
  await using cleanup = new AsyncDisposableStack();
  const world = cleanup.use(await open());
  const replica = cleanup.use(await startReplica(world));
  await release(world, "1.0.0");
  const fleet = await Fleet.enrol(world, fleetSize);
  fleet.beat(replica);
  const owned = cleanup.move();
  return { world, replica, fleet, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Takes the offers up to the first heartbeat on the new version, which proves each of them. */
export async function install({ fleet, replica }: Scene, offers: readonly Taken[]): Promise<void> {
  await fleet.take(replica, offers);
  await untilStates(replica, offers, "VERIFYING");
}

/** Lets the time pass for which these devices are watched, after which their next heartbeat verifies them. */
export async function verify({ world, fleet, replica }: Scene, offers: readonly Taken[]): Promise<void> {
  world.clock.advance(6 * minute);
  fleet.beat(replica, devicesOf(offers));
  await untilEnded(replica, offers);
}

/** Waits until the updates stand so in the memory of the replica. */
export async function untilStates(
  replica: Replica,
  offers: readonly Taken[],
  state: OpenUpdate["state"],
): Promise<void> {
  await expect
    .poll(() => offers.filter(([{ id }]) => replica.engine.tracker.get(id)?.state !== state).length, polling)
    .toBe(0);
}

/** Waits until none of these updates is open any more. */
export async function untilEnded(replica: Replica, offers: readonly Taken[]): Promise<void> {
  await expect
    .poll(
      () => offers.filter(([device, { id }]) => replica.engine.tracker.get(device.id)?.id === id).length,
      polling,
    )
    .toBe(0);
}

/** Waits until the gate of the front ring holds, and then for its soak time. */
export async function soak({ world, replica }: Scene, rolloutId: string, ring: string): Promise<void> {
  await until(replica, rolloutId, ({ rings }) =>
    expect(rings.find(({ name }) => name === ring)?.gateHeldSince).toBeDefined(),
  );
  world.clock.advance(minute);
  await replica.engine.tick();
}

export function devicesOf(offers: readonly Taken[]): SimulatedDevice[] {
  return offers.map(([device]) => device);
}

/** A part of something, the first so many per cent. */
export function share<Each>(all: readonly Each[], percent: number): Each[] {
  return all.slice(0, Math.round((all.length * percent) / 100));
}

/** The sum of a counter over all rings. */
export function sumOf(rollout: Rollout, counter: keyof Rollout["rings"][number]["counters"]): number {
  return rollout.rings.reduce((sum, { counters }) => sum + counters[counter], 0);
}

/** How many updates of a rollout stand how. */
export async function statesOf({ database }: World, rolloutId: string): Promise<Record<string, number>> {
  const { rows } = await database.adminPool.query<{ what: string; devices: number }>(
    `SELECT action || ' ' || state AS what, count(DISTINCT device_id)::int AS devices
     FROM device_updates WHERE rollout_id = $1 GROUP BY 1 ORDER BY 1`,
    [rolloutId],
  );
  return Object.fromEntries(rows.map(({ what, devices }) => [what, devices]));
}

/** What must hold after each story, whatever happened in it. */
export async function expectInvariants(world: World): Promise<void> {
  await expectExactCounters(world);
  const { rows } = await world.database.adminPool.query(
    "SELECT device_id FROM device_updates WHERE ended_at IS NULL GROUP BY device_id HAVING count(*) > 1",
  );
  expect(rows).toEqual([]);
  // A device has one update that counts in a rollout, however often it tried.
  const { rows: doubled } = await world.database.adminPool.query(
    `SELECT device_id, rollout_id, action FROM device_updates WHERE retry_at IS NULL AND action <> 'STEP'
     GROUP BY 1, 2, 3 HAVING count(*) > 1`,
  );
  expect(doubled).toEqual([]);
}

const polling = { interval: 20 };
