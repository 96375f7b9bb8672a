import { ListFilter } from "../filter/list-filter.ts";
import { sql } from "../infra/database/sql.ts";

/** What the filter of a list of error groups can name. */
export const errorGroupListFilter = new ListFilter(
  {
    id: { kind: "id", column: sql`g.id`, description: "The group's id." },
    title: { kind: "text", column: sql`g.title`, description: "What people call it." },
    code: { kind: "text", column: sql`g.code`, description: "The code that devices report." },
    state: {
      kind: "choice",
      column: sql`g.state`,
      prefix: "ERROR_GROUP_STATE_",
      values: ["OPEN", "RESOLVED", "IGNORED"],
      stored: { OPEN: "open", RESOLVED: "resolved", IGNORED: "ignored" },
      description: "What an operator made of it.",
    },
    fatal: { kind: "flag", column: sql`g.fatal`, description: "Whether it is a crash." },
    occurrence_count: {
      kind: "number",
      column: sql`g.occurrence_count`,
      description: "How often it was seen.",
    },
    device_count: { kind: "number", column: sql`g.device_count`, description: "On how many devices." },
    first_seen_time: { kind: "time", column: sql`g.first_seen_at`, description: "When it was seen first." },
    last_seen_time: { kind: "time", column: sql`g.last_seen_at`, description: "When it was seen last." },
    regress_time: {
      kind: "time",
      column: sql`g.regressed_at`,
      description: "When it was seen again after it was resolved.",
    },
    first_seen_version: {
      kind: "version",
      column: sql`g.first_seen_version`,
      description: "The version that showed it first.",
    },
    last_seen_version: {
      kind: "version",
      column: sql`g.last_seen_version`,
      description: "The version that showed it last.",
    },
    resolved_version: {
      kind: "version",
      column: sql`g.resolved_version`,
      description: "The version that mends it, as an operator said.",
    },
  },
  ["title", "code"],
);
