import { ListFilter } from "../filter/list-filter.ts";
import { sql } from "../infra/database/sql.ts";

/** What the filter of a list of alerts can name. */
export const alertListFilter = new ListFilter(
  {
    id: { kind: "id", column: sql`id`, description: "The alert's id." },
    rule: { kind: "text", column: sql`rule`, description: "What is looked at." },
    severity: {
      kind: "choice",
      column: sql`severity`,
      prefix: "ALERT_SEVERITY_",
      values: ["WARNING", "CRITICAL"],
      description: "How much it matters.",
    },
    resource_type: { kind: "text", column: sql`resource_type`, description: "The kind of what it is about." },
    resource_id: { kind: "text", column: sql`resource_id`, description: "What it is about." },
    summary: { kind: "text", column: sql`summary`, description: "What is the matter, in words." },
    acknowledger: { kind: "text", column: sql`acknowledger`, description: "Who took note of it." },
    acknowledgement_note: { kind: "text", column: sql`note`, description: "What is being done about it." },
    fire_time: { kind: "time", column: sql`fired_at`, description: "Since when it fires." },
    resolve_time: { kind: "time", column: sql`resolved_at`, description: "When it was resolved." },
    acknowledge_time: {
      kind: "time",
      column: sql`acknowledged_at`,
      description: "When somebody took note of it.",
    },
  },
  ["rule", "resource_id", "summary"],
);
