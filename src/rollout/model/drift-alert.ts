import { devicesText } from "./devices-text.ts";

/** The alert of a rollout with devices that fell back by themselves; empty if there are none. */
export function driftAlert(devices: number, version: string): string {
  if (devices === 0) return "";
  return `${prefix}: ${devicesText(devices)} that succeeded run${devices === 1 ? "s" : ""} an older version than ${version} again; retry ${devices === 1 ? "it" : "them"}, or let the policy heal drift`;
}

/** Whether an alert is one of {@link driftAlert}. */
export function isDriftAlert(alert: string): boolean {
  return alert.startsWith(prefix);
}

const prefix = "drift";
