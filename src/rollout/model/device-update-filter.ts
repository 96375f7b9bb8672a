import { ListFilter } from "../../filter/list-filter.ts";
import { sql } from "../../infra/database/sql.ts";
import { deviceUpdateStates } from "./device-update-state.ts";

/** What the filter of a list of device updates can name. */
export const deviceUpdateListFilter = new ListFilter(
  {
    id: { kind: "id", column: sql`u.id`, description: "The device update's id." },
    device_id: { kind: "id", column: sql`u.device_id`, description: "The device." },
    rollout_id: { kind: "id", column: sql`u.rollout_id`, description: "The rollout." },
    firmware_id: { kind: "id", column: sql`u.firmware_id`, description: "The firmware." },
    state: {
      kind: "choice",
      column: sql`u.state`,
      prefix: "DEVICE_UPDATE_STATE_",
      values: deviceUpdateStates,
      description: "How far it is.",
    },
    action: {
      kind: "choice",
      column: sql`u.action`,
      prefix: "UPDATE_ACTION_",
      values: ["INSTALL", "ROLLBACK", "STEP"],
      description: "What the device is asked to do.",
    },
    ring: { kind: "text", column: sql`g.name`, description: "The name of the device's ring." },
    component: {
      kind: "text",
      column: sql`f.component`,
      description: "The component, if it is an application.",
    },
    from_version: { kind: "version", column: sql`u.from_version`, description: "The version before." },
    to_version: { kind: "version", column: sql`u.to_version`, description: "The version that it brings." },
    failure_reason: {
      kind: "text",
      column: sql`u.failure_reason`,
      description: "Why it failed, as one word.",
    },
    failure_message: {
      kind: "text",
      column: sql`u.failure_message`,
      description: "Why it failed, in words.",
    },
    attempt: { kind: "number", column: sql`u.attempt`, description: "The number of the try." },
    downloaded_bytes: {
      kind: "number",
      column: sql`u.downloaded_bytes`,
      description: "How much came so far.",
    },
    drift_version: {
      kind: "version",
      column: sql`u.drifted_to`,
      description: "The older version that the device runs again by itself.",
    },
    metadata: {
      kind: "text_map",
      column: sql`u.metadata`,
      description: "What is kept with it, as text by name.",
    },
    offer_time: { kind: "time", column: sql`u.offered_at`, description: "When it was offered." },
    update_time: { kind: "time", column: sql`u.updated_at`, description: "When it changed last." },
    end_time: { kind: "time", column: sql`u.ended_at`, description: "When it was over." },
    deadline_time: {
      kind: "time",
      column: sql`u.deadline_at`,
      description: "When silence becomes a failure.",
    },
    missing_since_time: {
      kind: "time",
      column: sql`u.missing_since`,
      description: "Since when the device is missing.",
    },
    drift_time: {
      kind: "time",
      column: sql`u.drifted_at`,
      description: "Since when the device runs an older version again.",
    },
  },
  ["ring", "failure_reason", "failure_message"],
);
