import { type Alert, AlertSeverity } from "../../../gen/ota/v1/alert_pb.js";
import { RemedyAction } from "../../../gen/ota/v1/remedy_pb.js";
import type { Tone } from "../ui/status.tsx";
import { alertRules } from "./alert-rules.ts";

/** How much an alert matters, in words. */
export const alertSeverities: Readonly<Record<AlertSeverity, { tone: Tone; text: string }>> = {
  [AlertSeverity.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [AlertSeverity.WARNING]: { tone: "warn", text: "Warning" },
  [AlertSeverity.CRITICAL]: { tone: "bad", text: "Critical" },
};

/** What an alert is, in some words: the rule's, or what the rollout waits for. */
export function alertTitle({ rule, remedies: [first] }: Alert): string {
  const waits = first === undefined || rule === "rollout.rolled_back" ? undefined : waitTitles[first.action];
  return waits ?? alertRules[rule] ?? rule;
}

const waitTitles: Readonly<Partial<Record<RemedyAction, string>>> = {
  [RemedyAction.APPROVE]: "Rollout waits for approval",
  [RemedyAction.PROMOTE]: "Rollout waits for promotion",
  [RemedyAction.UPLOAD_FIRMWARE]: "Devices cannot be taken back",
  [RemedyAction.ENROL_DEVICES]: "Rollout is for no device",
};

/** An alert's line as a sentence. */
export function alertSentence({ summary }: Alert): string {
  const begun = summary.charAt(0).toUpperCase() + summary.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
