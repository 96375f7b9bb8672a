import { defineEntity, p } from "@mikro-orm/core";
import { instant } from "../../infra/database/columns.ts";

/** That the database's clock was set, as a replica noticed it: what it would have shown, and what it showed. */
export const ClockStepEntity = defineEntity({
  name: "ClockStep",
  tableName: "clock_steps",
  properties: {
    id: p.bigint("number").primary().autoincrement(),
    steppedFrom: instant(),
    steppedTo: instant(),
  },
});
