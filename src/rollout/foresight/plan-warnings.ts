import { damagedWords } from "../../firmware/damaged-firmware.ts";
import type { RolloutWarning, RolloutWarningCode } from "../model/foresight.ts";
import { leastReturnIntervals } from "../model/return-time.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";

/** What a rollout's own times do to it, whatever the fleet. */
export function planWarnings(
  { rollout, firmware, windows }: CompiledRollout,
  { nowMs, heartbeatIntervalMs }: { readonly nowMs: number; readonly heartbeatIntervalMs: number },
): RolloutWarning[] {
  const { policy, state } = rollout;
  const plannedMs = policy.startAt === null ? nowMs : Date.parse(policy.startAt);
  const startMs = Math.max(nowMs, plannedMs);
  const found: [code: RolloutWarningCode, message: string][] = [];
  if (firmware.damagedAt !== undefined)
    found.push([
      "FIRMWARE_DAMAGED",
      `${damagedWords(firmware.version)}: upload it again, nobody is offered it before`,
    ]);
  if (policy.deviceTimeoutMs <= policy.verificationMs)
    found.push([
      "TIMEOUT_TOO_SHORT",
      `device_timeout (${seconds(policy.deviceTimeoutMs)}) is not longer than verification_duration (${seconds(policy.verificationMs)}): no device can succeed in time`,
    ]);
  if (policy.returnMs !== null && policy.returnMs < leastReturnIntervals * heartbeatIntervalMs)
    found.push([
      "RETURN_TOO_SHORT",
      `return_duration (${seconds(policy.returnMs)}) is shorter than ${leastReturnIntervals} heartbeat intervals (${seconds(heartbeatIntervalMs)} each): healthy devices would be missing`,
    ]);
  const expiresMs = firmware.expiresAt?.getTime();
  if (expiresMs !== undefined && expiresMs < startMs + soonMs) {
    const when = expiresMs < startMs ? ", before the start" : "";
    found.push([
      "FIRMWARE_EXPIRES",
      `the manifest of ${firmware.version} expires at ${isoText(expiresMs)}${when}: nobody is offered it from then on`,
    ]);
  }
  if (state === "DRAFT" && plannedMs < nowMs)
    found.push(["START_TIME_PAST", `the start time ${policy.startAt} has passed: it starts at once`]);
  const window = windows.always ? undefined : windows.at(startMs, undefined);
  if (window?.open === false && window.changesAtMs > startMs + farMs)
    found.push([
      "WINDOW_FAR",
      `the first maintenance window opens at ${isoText(window.changesAtMs)}: nobody is offered the update before`,
    ]);
  return found.map(([code, message]) => ({ code, message, count: 0, subject: "", remedies: [] }));
}

const farMs = 24 * 3_600_000;

/** Rollouts take days. */
const soonMs = 7 * farMs;

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}

function isoText(ms: number): string {
  return new Date(ms).toISOString();
}
