import { defineEntity, p } from "@mikro-orm/core";
import { createdAt, instant, updatedAt } from "../infra/database/columns.ts";

/** How far the roll-ups of one resolution (`5m` or `1h`) have come: everything before `nextBucket` is done. */
export const RollupProgressEntity = defineEntity({
  name: "RollupProgress",
  tableName: "rollup_progress",
  properties: {
    resolution: p.text().primary(),
    nextBucket: instant(),
    /** The next part of that bucket, of `shards` parts that hold some devices each. */
    shard: p.integer().default(0),
    shards: p.integer().default(1),
    updatedAt: updatedAt(),
  },
});

/** A bucket of five minutes that got heartbeats after it was rolled up, and must be rolled up again. */
export const LateBucketEntity = defineEntity({
  name: "LateBucket",
  tableName: "late_buckets",
  properties: {
    bucket: instant().primary(),
    createdAt: createdAt(),
  },
});
