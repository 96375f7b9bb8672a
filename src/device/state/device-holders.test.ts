import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { trustedForMs } from "../../access/authenticator.ts";
import type { DeviceChangeListener } from "./device-changes.ts";
import { type DeviceHolder, DeviceHolders } from "./device-holders.ts";

interface Holder extends DeviceHolder {
  readonly blocked: boolean;
}

/** Devices, the database that knows them, and what is kept of them in memory. */
class Scene {
  readonly clock = new FakeClock();
  readonly holders: DeviceHolders<Holder>;
  readonly loads: (readonly string[])[] = [];
  /** What happens between the database's look at the devices and its answer. */
  meanwhile: () => Promise<void> | void = () => undefined;
  readonly #blocked = new Set<string>();
  readonly #listeners = new Set<DeviceChangeListener>();

  constructor() {
    this.holders = new DeviceHolders<Holder>({
      clock: this.clock,
      changes: {
        subscribe: (listener) => {
          this.#listeners.add(listener);
          return () => this.#listeners.delete(listener);
        },
      },
      load: async (names, readAtMs) => {
        this.loads.push(names);
        const found = names.map((name): [string, Holder] => [
          name,
          { deviceId: `id of ${name}`, blocked: this.#blocked.has(name), readAtMs, used: false },
        ]);
        await this.meanwhile();
        return new Map(found);
      },
    });
  }

  change(name: string): void {
    for (const listener of this.#listeners)
      listener.deviceChanged({ deviceId: `id of ${name}`, kind: "updated" });
  }

  block(name: string): void {
    this.#blocked.add(name);
    this.change(name);
  }
}

function fail(): never {
  throw Object.assign(new Error("the database went away"), { code: "57P01" });
}

const unavailable = { reason: "DATABASE_UNAVAILABLE" };

describe("the devices by the names in their credentials", () => {
  it("remembers a device again that changed while another one's name was loading", async () => {
    const scene = new Scene();
    await scene.holders.get("a");
    const loading = Promise.withResolvers<void>();
    scene.meanwhile = () => loading.promise;
    const other = scene.holders.get("b");
    scene.change("a");
    loading.resolve();
    await other;
    await scene.holders.get("a");
    const { length } = scene.loads;
    expect(scene.holders.get("a")).toMatchObject({ deviceId: "id of a" });
    expect(scene.loads).toHaveLength(length);
  });

  it("tells of a device that is blocked during its own first look-up that it is", async () => {
    const scene = new Scene();
    scene.meanwhile = () => {
      if (scene.loads.length === 1) scene.block("a");
    };
    expect(await scene.holders.get("a")).toMatchObject({ blocked: true });
    expect(scene.holders.get("a")).toMatchObject({ blocked: true });
    expect(scene.loads).toEqual([["a"], ["a"]]);
  });

  it("reads a device that changed before it tells of it, and does not go by what was true before", async () => {
    const scene = new Scene();
    await scene.holders.get("a");
    scene.block("a");
    scene.meanwhile = fail;
    await expect(scene.holders.get("a")).rejects.toMatchObject(unavailable);
    scene.meanwhile = () => undefined;
    expect(await scene.holders.get("a")).toMatchObject({ blocked: true });
  });

  it("believes what did not change while the database is away, until it is too old or changes meanwhile", async () => {
    const scene = new Scene();
    const first = await scene.holders.get("a");
    scene.meanwhile = fail;
    scene.clock.advance(trustedForMs - 1);
    expect(await scene.holders.get("a")).toBe(first);
    scene.meanwhile = () => {
      scene.change("a");
      fail();
    };
    await expect(scene.holders.get("a")).rejects.toMatchObject(unavailable);
  });

  it("believes nothing from before once more devices changed than it keeps in mind", async () => {
    const scene = new Scene();
    await scene.holders.get("a");
    scene.block("a");
    for (let index = 0; index < 100_000; index++) scene.change(String(index));
    scene.meanwhile = fail;
    await expect(scene.holders.get("a")).rejects.toMatchObject(unavailable);
    scene.meanwhile = () => undefined;
    expect(await scene.holders.get("a")).toMatchObject({ blocked: true });
    expect(scene.holders.get("a")).toMatchObject({ blocked: true });
  });
});
