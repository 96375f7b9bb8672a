import type { GroupingRule } from "../../../../gen/ota/v1/error_group_pb.js";

/** The conditions of a rule, by their names in the contract. */
export const conditionNames = ["code", "fault", "frame", "message"] as const satisfies (keyof GroupingRule)[];

/** One of {@link conditionNames}. */
export type ConditionName = (typeof conditionNames)[number];

/** The text of each condition; an empty one always holds. */
export type Conditions = Readonly<Record<ConditionName, string>>;

/** The conditions for people: their names, and what they look at. */
export const conditionWords: Readonly<Record<ConditionName, { label: string; description: string }>> = {
  code: { label: "Code", description: "The code that the device sent." },
  fault: { label: "Fault", description: "The class of the exception, or the sort of the fault: *Timeout*" },
  frame: { label: "Frame", description: "One of the innermost functions with its module: sensors.*" },
  message: { label: "Message", description: "The message: *broker*refused*" },
};
