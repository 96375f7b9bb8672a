import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { RingGate, RolloutPolicy } from "../../gen/ota/v1/rollout_pb.js";
import type { Field } from "../policy/field.ts";
import { tellFields, type ValueWriters } from "../policy/field-text.ts";
import { gateFields } from "../policy/gate-fields.ts";
import { policyFields } from "../policy/policy-fields.ts";
import { fromGateMessage, fromPolicyMessage } from "../policy/policy-messages.ts";
import { bytesText, cleanText, durationMsText, percentText, timeText } from "./format.ts";

/** How the command line writes the values of a policy. */
export const policyWriters: ValueWriters = {
  percent: percentText,
  number: String,
  durationMs: durationMsText,
  bytes: bytesText,
  time: (value) => timeText(timestampFromDate(value)),
};

/** A policy as names and values: what operators look for first, and what is not as it would be by default; or all of it. */
export function policyFacts(
  policy: RolloutPolicy | undefined,
  show: "notable" | "all" = "notable",
): [name: string, words: string][] {
  if (policy === undefined) return [];
  const values = fromPolicyMessage(policy);
  return tellFields(policyFields, values, policyWriters)
    .filter(({ name, field }) => show === "all" || field.inFront === true || isUnusual(field, values, name))
    .map(({ title, words }) => [title.toLowerCase(), cleanText(words)]);
}

/** What a ring's gate asks for, in one line. */
export function gateText(gate: RingGate | undefined): string {
  return tellFields(gateFields, fromGateMessage(gate), policyWriters)
    .map(({ words }) => words)
    .join(", ");
}

function isUnusual(field: Field, values: Readonly<Record<string, unknown>>, name: string): boolean {
  return values[name] !== undefined && values[name] !== field.default;
}
