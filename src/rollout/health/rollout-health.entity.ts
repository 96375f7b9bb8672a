import { defineEntity, p } from "@mikro-orm/core";
import { updatedAt } from "../../infra/database/columns.ts";
import { RolloutEntity } from "../model/rollout.entity.ts";
import type { EvidenceSums } from "./evidence-sums.ts";
import type { SignalName } from "./health-signals.ts";

/** What all replicas have seen of one health signal of one rollout. */
export const RolloutHealthEntity = defineEntity({
  name: "RolloutHealth",
  tableName: "rollout_health",
  properties: {
    rolloutId: p.manyToOne(RolloutEntity).mapToPk().joinColumn("rollout_id").primary(),
    signal: p.text().$type<SignalName>().primary(),
    sums: p.json<EvidenceSums>(),
    /** The lowest always-valid p-value so far. */
    lowestP: p.double(),
    updatedAt: updatedAt(),
  },
});
