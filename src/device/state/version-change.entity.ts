import { defineEntity, p } from "@mikro-orm/core";

/**
 * A device whose state shows another version of its firmware, or of an application, than before. Triggers add the rows, and
 * whoever acts on them takes them away; rows are only ever added by writers of states, so that they wait for nobody.
 */
export const VersionChangeEntity = defineEntity({
  name: "VersionChange",
  tableName: "device_version_changes",
  properties: {
    id: p.bigint("number").primary().autoincrement(),
    deviceId: p.uuid(),
  },
});
