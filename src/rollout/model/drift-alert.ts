import { devicesText } from "./devices-text.ts";
import { waysOutADay } from "./way-out.ts";

/**
 * The alert of a rollout with devices that fell back by themselves; empty if there are none. The way out of a recalled version is
 * offered again by itself.
 */
export function driftAlert(devices: number, version: string, recalledVersion?: string): string {
  if (devices === 0) return "";
  if (recalledVersion !== undefined)
    return `${driftPrefix}: ${devicesText(devices)} that left ${recalledVersion} fell back from ${version}, and may have it ${waysOutADay} times a day`;
  return `${driftPrefix}: ${devicesText(devices)} that succeeded run${devices === 1 ? "s" : ""} an older version than ${version} again; retry ${devices === 1 ? "it" : "them"}, or let the policy heal drift`;
}

/** Whether an alert is one of {@link driftAlert}. */
export function isDriftAlert(alert: string): boolean {
  return alert.startsWith(driftPrefix);
}

/** How each {@link driftAlert} begins. */
export const driftPrefix = "drift";
