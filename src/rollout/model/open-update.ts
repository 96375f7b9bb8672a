import { isReportOf } from "../../version/reported-versions.ts";
import type { DeviceUpdateState, UpdateAction } from "./device-update.entity.ts";

/** Names one update of one device. */
export interface UpdateKey {
  readonly deviceId: string;
  readonly id: string;
}

/** An update that is not over, as the tracker holds it. Only the tracker changes one, after the change is durable. */
export interface OpenUpdate extends UpdateKey {
  readonly rolloutId: string;
  readonly ringId: string;
  readonly firmwareId: string;
  readonly action: UpdateAction;
  readonly fromVersion: string;
  readonly toVersion: string;
  /** Texts under which devices report that they run it, beside its version. */
  reportedVersions: readonly string[];
  readonly offeredAtMs: number;
  /** Of the rollout's policy. */
  readonly verificationMs: number;
  /** Of the rollout's policy. */
  readonly crashLimit: number;
  /** Of the rollout's policy: further tries after a failure. */
  readonly maxRetries: number;
  /** Of the rollout's policy: the wait before the first of them. */
  readonly retryBackoffMs: number;
  /** Of the rollout's policy. */
  readonly deviceTimeoutMs: number;
  /** Of the rollout's policy; null: by how often the device is expected. */
  readonly returnMs: number | null;
  /** Which try this is, from 1. */
  readonly attempt: number;
  /** The device is not given it before; undefined: at once. */
  notBeforeMs: number | undefined;
  /** The firmware's security counter. */
  readonly securityCounter: number;
  /** The application that it installs; empty for firmware. */
  readonly component: string;
  state: DeviceUpdateState;
  /** The boot before the device took the update; empty if unknown. */
  fromBootId: string;
  crashCount: number;
  /** When the device began to install, or was found to have done so. */
  installingAtMs: number | undefined;
  provenAtMs: number | undefined;
  deadlineAtMs: number;
  /** Since when the device is missing. */
  missingSinceMs: number | undefined;
  /** Whether the device has begun to change itself: `installingAtMs` is set. */
  taken: boolean;
  /** The boot in which the new version was last seen; unknown after a restart of the service until it is seen again. */
  watchedBootId: string | undefined;
}

/** Whether a device that reports this text runs what the update brings. */
export function runsTarget({ toVersion, reportedVersions }: Readonly<OpenUpdate>, text: string): boolean {
  return isReportOf(text, { version: toVersion, reportedVersions });
}

/** Whether the device had the version when it was offered it: an operator asked to install it again. */
export function isReinstall(update: Readonly<OpenUpdate>): boolean {
  return update.action === "INSTALL" && runsTarget(update, update.fromVersion);
}

/** Whether an update is one of those that a rollout limits. */
export function takesSlot(update: Pick<OpenUpdate, "action" | "state" | "notBeforeMs">): boolean {
  return update.action !== "ROLLBACK" && !isWaitingTry(update);
}

/** Whether an update is a further try that the device has not begun with. */
export function isWaitingTry({
  action,
  notBeforeMs,
  state,
}: Pick<OpenUpdate, "action" | "state" | "notBeforeMs">): boolean {
  return action !== "ROLLBACK" && state === "OFFERED" && notBeforeMs !== undefined;
}

/** What changes of an update along with its state; what is absent stays. Times are on the service's clock. */
export interface UpdatePatch {
  readonly fromBootId?: string | undefined;
  readonly crashCount?: number | undefined;
  readonly downloadedBytes?: number | undefined;
  readonly installingAt?: Date | undefined;
  readonly provenAt?: Date | undefined;
  readonly verifyUntil?: Date | undefined;
  readonly deadlineAt?: Date | undefined;
  readonly failureReason?: string | undefined;
  readonly failureMessage?: string | undefined;
  readonly endedAt?: Date | undefined;
  /** The device is missing since then. Any other change is a sign of life, which ends that, but for a deadline that passes. */
  readonly missingSince?: Date | undefined;
}
