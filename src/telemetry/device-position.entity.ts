import { defineEntity, p } from "@mikro-orm/core";
import { entityNamed, instant } from "../infra/database/columns.ts";

/** Where a device was lately, for the map: a narrow row that changes only when the device moved or some time has passed. */
export const DevicePositionEntity = defineEntity({
  name: "DevicePosition",
  tableName: "device_positions",
  properties: {
    deviceId: p.manyToOne(entityNamed("Device")).mapToPk().joinColumn("device_id").primary(),
    receivedAt: instant(),
    /** (longitude, latitude) in degrees, so that x points east. */
    position: p.string().columnType("point"),
    accuracyMeters: p.float().strictNullable(),
    altitudeMeters: p.float().strictNullable(),
    fixTime: instant().strictNullable(),
  },
  indexes: [{ name: "device_positions_position_index", properties: ["position"], type: "gist" }],
});
