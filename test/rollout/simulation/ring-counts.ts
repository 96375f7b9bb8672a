import type { DeviceClass } from "../../../src/rollout/preview/device-class.ts";
import { PreviewTally } from "../../../src/rollout/preview/preview-tally.ts";
import type { Places } from "../../../src/rollout/preview/widened-rings.ts";
import type { CompiledRollout } from "../../../src/rollout/rules/compiled-rollout.ts";
import { device as anyDevice } from "../compiled-fixture.ts";
import type { SimulatedDevice } from "./simulated-device.ts";
import type { UpdateRows } from "./update-rows.ts";

/** Counts the devices of a rollout's rings as previews count them, from devices in memory. */
export function countRings(
  rollout: CompiledRollout,
  devices: Iterable<SimulatedDevice>,
  rows: UpdateRows,
  nowMs: number,
): Places {
  const classes = new Map<string, Countable>();
  for (const device of devices) {
    const tries = rows.of(device.script.id);
    const row = {
      hardware_model: anyDevice.hardwareModel,
      product: "",
      device_type: anyDevice.deviceType,
      update_pin: device.script.pin,
      standing: "admitted" as const,
      heard: true,
      version: device.version,
      security_counter: "0",
      tried: tries.some(({ endedAtMs, retried }) => endedAtMs !== undefined && !retried),
      had: tries.length > 0,
    };
    const name = `${row.update_pin} ${row.version} ${row.tried} ${row.had}`;
    const known: Countable = classes.get(name) ?? { row, ids: [] };
    classes.set(name, known);
    known.ids.push(device.idBytes);
  }
  const tally = new PreviewTally(rollout, nowMs);
  for (const { row, ids } of classes.values()) tally.add({ ...row, ids: Buffer.concat(ids) });
  return tally.places();
}

/** Devices that no rule tells apart, with their ids. */
interface Countable {
  readonly row: Omit<DeviceClass, "ids">;
  readonly ids: Buffer[];
}
