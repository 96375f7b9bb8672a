import { ListFilter } from "../filter/list-filter.ts";
import { sql } from "../infra/database/sql.ts";

/** What the filter of a list of audit events can name. */
export const auditListFilter = new ListFilter(
  {
    actor: { kind: "text", column: sql`actor`, description: "Who did it." },
    action: { kind: "text", column: sql`action`, description: "What was done." },
    resource_type: {
      kind: "text",
      column: sql`resource_type`,
      description: "The kind of what it was done to.",
    },
    resource_id: { kind: "text", column: sql`resource_id`, description: "What it was done to." },
    reason: { kind: "text", column: sql`reason`, description: "Why, in words." },
    details: { kind: "text_map", column: sql`details`, description: "Details, as text by name." },
    address: { kind: "text", column: sql`address`, description: "From where." },
    request_id: { kind: "text", column: sql`request_id`, description: "The call that did it." },
    time: { kind: "time", column: sql`occurred_at`, description: "When." },
  },
  ["actor", "action", "resource_id", "reason"],
);
