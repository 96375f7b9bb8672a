import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UpdateAction } from "../../../gen/ota/v1/rollout_pb.js";
import {
  type CheckForUpdateRequestSchema,
  type CheckForUpdateResponseSchema,
  NoOfferReason,
  type OfferSchema,
  UpdateService,
} from "../../../gen/ota/v1/update_service_pb.js";
import { type CallContext, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import type { Places } from "../../api/pipeline/places.ts";
import { shallRotate } from "../../call/identity.ts";
import { checkReadingsOf } from "../../device/state/record-messages.ts";
import { toSignatureMessage, toUpdateKind } from "../../firmware/firmware-messages.ts";
import type { Clock } from "../../infra/clock.ts";
import type { UpdateMetrics } from "../../infra/metrics.ts";
import { toWindowMessages } from "../../policy/policy-messages.ts";
import { windowZone } from "../../schedule/maintenance-schedule.ts";
import { isReinstall } from "../model/open-update.ts";
import { storageNeed } from "../rules/readiness-rules.ts";
import type { NoOfferReason as NoOfferReasonName } from "../rules/rule.ts";
import { callingDevice } from "./calling-device.ts";
import type { CheckReading } from "./checked-device.ts";
import { UpToDateAnswers } from "./up-to-date-messages.ts";
import type { CheckAnswer, UpdateOffers } from "./update-offers.ts";
import type { WaitingCheck, WaitingChecks } from "./waiting-checks.ts";

/** What update checks are answered with. */
export interface CheckEndpointParts {
  readonly offers: Pick<UpdateOffers, "check" | "checkAgain">;
  readonly metrics: Pick<UpdateMetrics, "checks">;
  readonly waiting: WaitingChecks;
  readonly places: Pick<Places, "take">;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** The longest that a check waits for an offer; 0: none does. */
  readonly longestWaitMs: number;
}

/** UpdateService.CheckForUpdate. */
export function checkEndpoint(parts: CheckEndpointParts): Endpoint {
  const { offers } = parts;
  const checks = new CheckCounts(parts.metrics.checks);
  return unary(
    UpdateService.method.checkForUpdate,
    {
      rate: "update_check",
      encode: (answer) => checks.upToDate.encode(answer),
    },
    (request, context) => {
      const { identity, signal } = context;
      const reading = readingOf(request);
      const told = (it: CheckResponse) => (shallRotate(identity) ? { ...it, rotateToken: true } : it);
      if (request.wait !== undefined && durationMs(request.wait) > 0)
        return patientAnswer(parts, checks, { reading, wait: request.wait }, context).then(told);
      const answer = offers.check(callingDevice(identity), reading, signal);
      return answer instanceof Promise
        ? answer.then((late) => told(checks.counted(late)))
        : Promise.resolve(told(checks.counted(answer)));
    },
  );
}

type CheckResponse = MessageInitShape<typeof CheckForUpdateResponseSchema>;

/** Answers a check that would wait: at once where there is something or no place to wait in, else when there is, or later. */
async function patientAnswer(
  parts: CheckEndpointParts,
  checks: CheckCounts,
  { reading, wait }: { readonly reading: CheckReading; readonly wait: Duration },
  context: CallContext,
): Promise<CheckResponse> {
  const { offers, clock, waiting, longestWaitMs } = parts;
  const deviceId = callingDevice(context.identity);
  const startedMs = clock.monotonicMs();
  const waitMs = Math.min(durationMs(wait), longestWaitMs);
  using place = waitMs > 0 ? placeFor(parts, deviceId, context) : undefined;
  if (place !== undefined) context.lasts();
  let answer = await offers.check(deviceId, reading, context.signal);
  if (place === undefined) return checks.counted(answer);
  for (;;) {
    const nowMs = clock.monotonicMs();
    const leftMs = startedMs + waitMs - nowMs;
    if (answer.kind === "offer" || leftMs <= 0) break;
    const goesOn = await place.pause(Math.min(leftMs, nextLookMs(answer)), context.signal);
    context.waited(clock.monotonicMs() - nowMs);
    if (!goesOn) break;
    answer = await offers.checkAgain(deviceId, reading, context.signal);
  }
  const counted = checks.counted(answer);
  const appliedWait = durationFromMs(Math.round(waitMs));
  if (answer.kind === "offer") return { ...counted, appliedWait };
  const againMs = waiting.isDraining
    ? Math.random() * elsewhereWithinMs
    : Math.max(leastBetweenMs - (clock.monotonicMs() - startedMs), 1_000);
  return { ...toCheckResponse(answer), appliedWait, retryAfter: retryAfter(againMs) };
}

/** Where a check may wait; undefined if there is no place for one more, or none waits any more. */
function placeFor(
  { waiting, places }: CheckEndpointParts,
  deviceId: string,
  context: CallContext,
): WaitingCheck | undefined {
  if (waiting.isDraining) return undefined;
  try {
    return waiting.begin(deviceId, () => places.take("update_checks", context));
  } catch (error) {
    // It is a wish: who cannot wait polls.
    context.logger.debug({ err: error }, "the update check cannot wait");
    return undefined;
  }
}

/** When to look again though nothing was announced, such as when a window opens; in milliseconds. */
function nextLookMs({ retry }: Extract<CheckAnswer, { kind: "none" }>): number {
  return retry === undefined ? Number.POSITIVE_INFINITY : retry.afterMs + retry.spreadMs * Math.random();
}

/** A device that waited may ask again at once, but not more often than this in milliseconds: the rate limit is above that. */
const leastBetweenMs = 10_000;

/** The time over which devices whose wait the end of the service cut short come to another replica. */
const elsewhereWithinMs = 10_000;

/** Where the plain HTTP door serves the content of an update. */
function downloadPath(updateId: string): string {
  return `/api/v1/updates/${updateId}/content`;
}

/**
 * How long a device should wait before it asks again, in milliseconds before jitter. Devices that hold a stream are told
 * when something comes up; these times are for those that only poll, and for what no event announces.
 */
const retryAfterMs: Readonly<Record<NoOfferReasonName, number>> = {
  UP_TO_DATE: 15 * 60_000,
  RING_NOT_OPEN: 5 * 60_000,
  BATTERY_TOO_LOW: 5 * 60_000,
  STORAGE_TOO_LOW: 15 * 60_000,
  VERSION_TOO_OLD: 15 * 60_000,
  TOO_MANY_IN_PROGRESS: 30_000,
  ROLLOUT_PAUSED: 5 * 60_000,
  ALREADY_TRIED: 15 * 60_000,
  SECURITY_COUNTER: 15 * 60_000,
  METERED_NETWORK: 15 * 60_000,
  OUTSIDE_MAINTENANCE_WINDOW: 15 * 60_000,
  CONSENT_REQUIRED: 15 * 60_000,
  PACED: 60_000,
  DOWNGRADE: 15 * 60_000,
  EXCLUDED: 15 * 60_000,
  QUARANTINED: 15 * 60_000,
  BLOCKED: 15 * 60_000,
  BACKING_OFF: 5 * 60_000,
  NOT_STARTED: 15 * 60_000,
  NOT_TARGETED: 15 * 60_000,
  UPDATE_IN_PROGRESS: 5 * 60_000,
  STEP_MISSING: 15 * 60_000,
  OUTRANKED: 15 * 60_000,
  VERSION_UNKNOWN: 15 * 60_000,
  PRODUCT_UNKNOWN: 15 * 60_000,
  BATTERY_UNKNOWN: 5 * 60_000,
  STORAGE_UNKNOWN: 5 * 60_000,
};

/** An offer that was not taken up is asked for again by a device that forgot it. */
const offerRetryMs = 5 * 60_000;

/** A fleet that was told the same at the same time must not come back at the same time: plus or minus 25 %. */
const jitter = 0.25;

/** Counts checks by outcome; the handles are kept, a lookup by label costs more than the count. */
class CheckCounts {
  readonly #metric: UpdateMetrics["checks"];
  readonly #handles = new Map<string, { inc(): void }>();
  readonly upToDate = new UpToDateAnswers(() => retryAfter(retryAfterMs.UP_TO_DATE));

  constructor(metric: UpdateMetrics["checks"]) {
    this.#metric = metric;
  }

  /** The answer on the wire. */
  counted(answer: CheckAnswer): CheckResponse {
    const outcome = answer.kind === "offer" ? "OFFER" : answer.reason;
    let handle = this.#handles.get(outcome);
    if (handle === undefined) {
      handle = this.#metric.labels(outcome);
      this.#handles.set(outcome, handle);
    }
    handle.inc();
    if (answer.kind === "none" && answer.reason === "UP_TO_DATE") return this.upToDate.take();
    return toCheckResponse(answer);
  }
}

function toCheckResponse(answer: CheckAnswer): CheckResponse {
  if (answer.kind === "offer") {
    return { offer: toOfferMessage(answer), retryAfter: retryAfter(offerRetryMs) };
  }
  return {
    noOfferReason: NoOfferReason[answer.reason],
    message: answer.message,
    retryAfter:
      answer.retry === undefined
        ? retryAfter(retryAfterMs[answer.reason])
        : durationFromMs(Math.round(answer.retry.afterMs + answer.retry.spreadMs * Math.random())),
  };
}

function toOfferMessage({
  update,
  firmware,
  rollout,
  timeZone,
}: Extract<CheckAnswer, { kind: "offer" }>): MessageInitShape<typeof OfferSchema> {
  const policy = rollout?.rollout.policy;
  const maxMeteredBytes = policy?.maxMeteredBytes ?? Number.POSITIVE_INFINITY;
  return {
    updateId: update.id,
    action: UpdateAction[update.action],
    rolloutId: update.rolloutId,
    firmwareId: firmware.id,
    version: firmware.version,
    sha256: firmware.sha256,
    sizeBytes: BigInt(firmware.sizeBytes),
    ...(firmware.manifest === undefined ? {} : { manifest: new Uint8Array(firmware.manifest) }),
    signatures: firmware.signatures.map(toSignatureMessage),
    minBatteryPercent: firmware.minBatteryPercent,
    minFreeStorageBytes: BigInt(storageNeed(firmware, policy?.storageFactor ?? 1)),
    kind: toUpdateKind(firmware.kind),
    component: firmware.component,
    unmeteredNetworkOnly: firmware.sizeBytes > maxMeteredBytes,
    // By the zone that the offer was judged by, which the device itself need not know.
    maintenanceWindows: toWindowMessages(policy?.maintenanceWindows ?? []).map((window) => ({
      ...window,
      timeZone: windowZone(timeZone, { timeZone: window.timeZone ?? "" }),
    })),
    requireUserConsent: policy?.requireUserConsent ?? false,
    // A rollback is asked for whatever the policy lets the rollout bring.
    allowDowngrade:
      update.action === "ROLLBACK" || (update.action === "INSTALL" && (policy?.allowDowngrade ?? false)),
    reinstall: isReinstall(update),
    downloadPath: downloadPath(update.id),
    ...(Number.isFinite(update.deadlineAtMs)
      ? { expireTime: timestampFromMs(Math.round(update.deadlineAtMs)) }
      : {}),
  };
}

function retryAfter(ms: number) {
  return durationFromMs(Math.round(ms * (1 - jitter + 2 * jitter * Math.random())));
}

function readingOf(request: MessageShape<typeof CheckForUpdateRequestSchema>): CheckReading {
  return {
    ...checkReadingsOf(request),
    firmwareVersion: request.firmwareVersion,
    bootId: request.bootId,
    securityCounter: Number(request.securityCounter),
    components: isEmpty(request.components) ? undefined : request.components,
    userConsent: request.userConsent,
  };
}

function isEmpty(entries: object): boolean {
  for (const _ in entries) return false;
  return true;
}
