import { defineEntity, p } from "@mikro-orm/core";
import { updatedAt } from "../../infra/database/columns.ts";
import type { KnownBoot } from "./boot-history.ts";

/** Under which boots a device was heard: see {@link BootHistory}. No foreign key: it is written for devices that may be gone. */
export const DeviceBootsEntity = defineEntity({
  name: "DeviceBoots",
  tableName: "device_boots",
  properties: {
    deviceId: p.uuid().primary(),
    boots: p.json<readonly KnownBoot[]>().defaultRaw("'[]'"),
    returnsMs: p.json<readonly number[]>().defaultRaw("'[]'"),
    updatedAt: updatedAt(),
  },
});
