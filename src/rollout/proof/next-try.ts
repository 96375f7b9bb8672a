import type { OpenUpdate } from "../model/open-update.ts";
import { newUpdateId } from "../model/update-id.ts";

/** A further try of a device whose last one failed. */
export interface NextTry {
  readonly id: string;
  /** The boot that the device must leave; empty if any will do. */
  readonly fromBootId: string;
  readonly madeAt: Date;
  /** The device is not given it before. */
  readonly notBefore: Date;
  readonly deadlineAt: Date;
  /** Whether it is a try to go back. */
  readonly rollback: boolean;
}

/**
 * The try that follows a failed one; undefined if the policy grants no more and the failure is not `excused`. Each wait is twice the one before, at most a
 * day, and jittered by a quarter so that devices which failed together do not come back together.
 */
export function nextTry(
  update: Readonly<OpenUpdate>,
  now: Date,
  fromBootId: string,
  {
    excused = false,
    random = Math.random,
  }: { readonly excused?: boolean | undefined; readonly random?: (() => number) | undefined } = {},
): NextTry | undefined {
  const { attempt, maxRetries, retryBackoffMs, deviceTimeoutMs } = update;
  if (attempt > maxRetries && !excused) return undefined;
  const notBefore = retryAt(retryBackoffMs, attempt - 1, now, random);
  return {
    id: newUpdateId(now, update.id),
    fromBootId,
    madeAt: now,
    notBefore,
    deadlineAt: new Date(notBefore.getTime() + deviceTimeoutMs),
    rollback: update.action === "ROLLBACK",
  };
}

/** When a try may begin that follows `tries` others. */
export function retryAt(
  backoffMs: number,
  tries: number,
  now: Date,
  random: () => number = Math.random,
): Date {
  const waitMs = Math.min(backoffMs * 2 ** tries, maxWaitMs);
  return new Date(now.getTime() + Math.round(waitMs * (1 - jitter + 2 * jitter * random())));
}

/** The longest wait before a further try. */
const maxWaitMs = 24 * 60 * 60_000;

const jitter = 0.25;
