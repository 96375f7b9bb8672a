import { defineEntity, p } from "@mikro-orm/core";
import { instant } from "./columns.ts";

/** The one row that readiness writes anew, to know that rows can be written. */
export const WriteProbeEntity = defineEntity({
  name: "WriteProbe",
  tableName: "write_probe",
  properties: {
    /** Always 1. */
    id: p.smallint().primary().autoincrement(false),
    writtenAt: instant(),
  },
});
