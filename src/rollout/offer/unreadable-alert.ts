import type { Rollout } from "../model/rollout.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";

/**
 * What the alert of a rollout has to become for what of it can or cannot be read; undefined if it may stay. Any other alert
 * goes first, until somebody has seen to it.
 */
export function dueAlert(
  { alert }: Pick<Rollout, "alert">,
  compiled: Pick<CompiledRollout, "unreadable"> | undefined,
): string | undefined {
  if (compiled === undefined) return undefined;
  const due = compiled.unreadable === undefined ? "" : `${unreadableAlert}: ${compiled.unreadable}`;
  return alert !== due && (alert === "" || alert.startsWith(unreadableAlert)) ? due : undefined;
}

const unreadableAlert = "the rollout is for no device";
