import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UpdateAction } from "../../../gen/ota/v1/rollout_pb.js";
import {
  type CheckForUpdateRequestSchema,
  type CheckForUpdateResponseSchema,
  type DownloadFirmwareRequestSchema,
  type DownloadFirmwareResponseSchema,
  NoOfferReason,
  type OfferSchema,
  UpdateService,
} from "../../../gen/ota/v1/update_service_pb.js";
import type { DownloadOpener } from "../../api/download/download-route.ts";
import { type CallContext, type Endpoint, serverStream, unary } from "../../api/pipeline/endpoint.ts";
import { type Identity, shallRotate } from "../../call/identity.ts";
import { isUuid } from "../../call/uuid.ts";
import { checkReadingsOf } from "../../device/state/record-messages.ts";
import { invalidArgument } from "../../errors.ts";
import type { DirectUrls } from "../../firmware/direct-urls.ts";
import { toSignatureMessage, toUpdateKind } from "../../firmware/firmware-messages.ts";
import type { UpdateMetrics } from "../../infra/metrics.ts";
import { toWindowMessages } from "../../policy/policy-messages.ts";
import { windowZone } from "../../schedule/maintenance-schedule.ts";
import type { ReportableState } from "../model/device-update-state.ts";
import { isReinstall } from "../model/open-update.ts";
import { storageNeed } from "../rules/readiness-rules.ts";
import type { NoOfferReason as NoOfferReasonName } from "../rules/rule.ts";
import { fromUpdateState, toUpdateState } from "../wire/rollout-messages.ts";
import type { CheckReading } from "./checked-device.ts";
import { ChunkAnswer, chunksInPlace } from "./download-messages.ts";
import { UpToDateAnswers } from "./up-to-date-messages.ts";
import { type CheckAnswer, notOffered, type UpdateOffers } from "./update-offers.ts";

/** What the endpoints for devices work on. */
export interface UpdateEndpointParts {
  readonly offers: UpdateOffers;
  readonly directUrls: Pick<DirectUrls, "of">;
  readonly metrics: Pick<UpdateMetrics, "checks" | "downloadedBytes" | "directDownloads">;
}

/** UpdateService. */
export function updateEndpoints(parts: UpdateEndpointParts): Endpoint[] {
  const { offers, metrics } = parts;
  const { method } = UpdateService;
  const checks = new CheckCounts(metrics.checks);
  return [
    unary(
      method.checkForUpdate,
      {
        rate: "update_check",
        encode: (answer) => checks.upToDate.encode(answer),
      },
      (request, context) => {
        const { signal, identity } = context;
        const answer = offers.check(deviceOf(identity), readingOf(request), signal);
        const told = (it: CheckAnswer) => {
          const counted = checks.counted(it);
          return shallRotate(identity) ? { ...counted, rotateToken: true } : counted;
        };
        return answer instanceof Promise ? answer.then(told) : Promise.resolve(told(answer));
      },
    ),

    serverStream(
      method.downloadFirmware,
      { rate: "download", place: "downloads", inPlace: chunksInPlace },
      (request, context) => download(parts, request, context),
    ),

    unary(method.reportUpdateStatus, { rate: "device" }, async (request, { identity }) => {
      const state = fromUpdateState(request.state) as ReportableState;
      if (state === "FAILED" && request.failureReason === "") {
        throw invalidArgument("failure_reason", "is required with FAILED");
      }
      const after = await offers.report(deviceOf(identity), {
        updateId: request.updateId,
        state,
        failureReason: request.failureReason,
        failureMessage: request.failureMessage,
        downloadedBytes: Number(request.downloadedBytes),
      });
      return { state: toUpdateState(after) };
    }),
  ];
}

/** Opens downloads for the plain HTTP door, by the same rules. */
export function downloadOpener({ offers, directUrls, metrics }: UpdateEndpointParts): DownloadOpener {
  const directed = metrics.directDownloads.labels("http");
  const sent = metrics.downloadedBytes.labels("http");
  return async (updateId, identity, signal) => {
    const deviceId = deviceOf(identity);
    if (!isUuid(updateId)) throw notOffered();
    // Only looks whether it may, and what it is; nothing is read before it is iterated.
    const content = await offers.openDownload(deviceId, updateId, { offset: 0, limit: 0, signal });
    return {
      sizeBytes: content.sizeBytes,
      sha256: content.sha256,
      elsewhere: async () => {
        const direct = content.direct ? await directUrls.of(content.sha256) : undefined;
        if (direct !== undefined) directed.inc();
        return direct?.url;
      },
      read: (offset, length) => bytesOf(offers, deviceId, updateId, { offset, limit: length, signal }, sent),
    };
  };
}

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
  counted(answer: CheckAnswer): MessageInitShape<typeof CheckForUpdateResponseSchema> {
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

function toCheckResponse(answer: CheckAnswer): MessageInitShape<typeof CheckForUpdateResponseSchema> {
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

async function* download(
  { offers, directUrls, metrics }: UpdateEndpointParts,
  { updateId, offset, limit, acceptUrl }: MessageShape<typeof DownloadFirmwareRequestSchema>,
  { identity, signal, door }: CallContext,
): AsyncGenerator<MessageInitShape<typeof DownloadFirmwareResponseSchema>> {
  // Numbers past 2^53 lose precision, but lie past every end anyway.
  const range = { offset: Number(offset), limit: Number(limit), signal };
  const opened = await offers.openDownload(deviceOf(identity), updateId, range);
  const wantsUrl = acceptUrl && opened.direct && opened.length > 0;
  const direct = wantsUrl ? await directUrls.of(opened.sha256) : undefined;
  yield {
    message: {
      case: "header",
      value: {
        sizeBytes: BigInt(opened.sizeBytes),
        sha256: opened.sha256,
        offset: BigInt(opened.offset),
        length: BigInt(opened.length),
        ...(direct === undefined ? {} : { url: direct.url, urlLifetime: durationFromMs(direct.lifetimeMs) }),
      },
    },
  };
  if (direct !== undefined) {
    metrics.directDownloads.labels(door).inc();
    return;
  }
  const sent = metrics.downloadedBytes.labels(door);
  let at = opened.offset;
  for await (const piece of opened.pieces) {
    const answer = new ChunkAnswer(piece, at);
    const { length } = answer;
    yield answer;
    at += length;
    sent.inc(length);
  }
}

async function* bytesOf(
  offers: UpdateOffers,
  deviceId: string,
  updateId: string,
  range: { readonly offset: number; readonly limit: number; readonly signal: AbortSignal },
  sent: { inc(by: number): void },
): AsyncGenerator<Buffer> {
  const { pieces } = await offers.openDownload(deviceId, updateId, range);
  for await (const { data } of pieces) {
    yield data;
    sent.inc(data.length);
  }
}

function deviceOf(identity: Identity): string {
  // The access rules let only devices come here.
  if (identity.kind !== "device") throw notOffered();
  return identity.deviceId;
}
