import { defineEntity, p } from "@mikro-orm/core";
import { createdAt } from "./columns.ts";

/** A request id that a caller gave with a create (AIP-155), and what came of it. Rows live for 24 hours. */
export const RequestIdEntity = defineEntity({
  name: "RequestId",
  tableName: "request_ids",
  properties: {
    caller: p.text().primary(),
    method: p.text().primary(),
    requestId: p.uuid().primary(),
    /** SHA-256 of the request without its id: tells a retry from another request under the same id. */
    requestDigest: p.blob(),
    resourceId: p.text(),
    createdAt: createdAt(),
  },
  indexes: [{ name: "request_ids_created_at_index", properties: ["createdAt"] }],
});
