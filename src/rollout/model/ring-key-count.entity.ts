import { defineEntity, p } from "@mikro-orm/core";
import { DeploymentRingEntity } from "./deployment-ring.entity.ts";
import { countProperties, keyCounters } from "./rollout-counters.ts";

/**
 * How the devices that were enrolled with one key fare in a ring: the ring's counters split by enrolment key. Devices
 * without one are not counted here. Changes in the transaction that changes the ring's counters.
 */
export const RingKeyCountEntity = defineEntity({
  name: "RingKeyCount",
  tableName: "ring_key_counts",
  properties: {
    ringId: p.manyToOne(DeploymentRingEntity).mapToPk().joinColumn("ring_id").primary(),
    enrolmentKeyId: p.uuid().primary(),
    ...countProperties(keyCounters),
  },
  indexes: [{ name: "ring_key_counts_ring_id_offered_count_index", properties: ["ringId", "offeredCount"] }],
});
