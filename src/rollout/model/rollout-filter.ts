import { ListFilter } from "../../filter/list-filter.ts";
import { sql } from "../../infra/database/sql.ts";
import { rolloutStates } from "./rollout-state.ts";

/** What the filter of a list of rollouts can name. */
export const rolloutListFilter = new ListFilter(
  {
    id: { kind: "id", column: sql`r.id`, description: "The rollout's id." },
    name: { kind: "text", column: sql`r.name`, description: "Its name." },
    state: {
      kind: "choice",
      column: sql`r.state`,
      prefix: "ROLLOUT_STATE_",
      values: rolloutStates,
      description: "How far it is.",
    },
    state_reason: { kind: "text", column: sql`r.state_reason`, description: "Why it is there." },
    alert: { kind: "text", column: sql`r.alert`, description: "What needs a person, in words." },
    firmware_id: { kind: "id", column: sql`r.firmware_id`, description: "The firmware that it brings." },
    version: { kind: "version", column: sql`f.version`, description: "The version of that firmware." },
    product: { kind: "text", column: sql`f.product`, description: "The product of that firmware." },
    component: {
      kind: "text",
      column: sql`f.component`,
      description: "The component of that firmware, if it is an application.",
    },
    creator: {
      kind: "text",
      column: sql`r.creator`,
      description: "Who created it, as the audit log names callers.",
    },
    metadata: {
      kind: "text_map",
      column: sql`r.metadata`,
      description: "What is kept with it, as text by name.",
    },
    create_time: { kind: "time", column: sql`r.created_at`, description: "When it was created." },
    start_time: { kind: "time", column: sql`r.started_at`, description: "When its first ring opened." },
    end_time: { kind: "time", column: sql`r.ended_at`, description: "When it was over." },
    archive_time: { kind: "time", column: sql`r.archived_at`, description: "When it was put away." },
  },
  ["name", "product", "version"],
);
