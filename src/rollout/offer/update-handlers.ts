import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type DownloadFirmwareRequestSchema,
  type DownloadFirmwareResponseSchema,
  UpdateService,
} from "../../../gen/ota/v1/update_service_pb.js";
import type { DownloadOpener } from "../../api/download/download-route.ts";
import { type CallContext, type Endpoint, serverStream, unary } from "../../api/pipeline/endpoint.ts";
import { isUuid } from "../../call/uuid.ts";
import { invalidArgument } from "../../errors.ts";
import type { DirectUrls } from "../../firmware/direct-urls.ts";
import type { Piece } from "../../firmware/download-piece.ts";
import type { UpdateMetrics } from "../../infra/metrics.ts";
import type { ReportableState } from "../model/device-update-state.ts";
import { fromUpdateState, toUpdateState } from "../wire/rollout-messages.ts";
import { callingDevice } from "./calling-device.ts";
import { type CheckEndpointParts, checkEndpoint } from "./check-handlers.ts";
import { ChunkAnswer, chunksInPlace } from "./download-messages.ts";
import { notOffered, type UpdateOffers } from "./update-offers.ts";

/** What downloads are served from. */
export interface DownloadParts {
  readonly offers: UpdateOffers;
  readonly directUrls: Pick<DirectUrls, "of">;
  readonly metrics: Pick<UpdateMetrics, "downloadedBytes" | "directDownloads">;
}

/** What the endpoints for devices work on. */
export interface UpdateEndpointParts extends DownloadParts, CheckEndpointParts {
  readonly offers: UpdateOffers;
  readonly metrics: Pick<UpdateMetrics, "checks" | "downloadedBytes" | "directDownloads">;
}

/** UpdateService. */
export function updateEndpoints(parts: UpdateEndpointParts): Endpoint[] {
  const { offers } = parts;
  const { method } = UpdateService;
  return [
    checkEndpoint(parts),

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
      const after = await offers.report(callingDevice(identity), {
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
export function downloadOpener({ offers, directUrls, metrics }: DownloadParts): DownloadOpener {
  const directed = metrics.directDownloads.labels("http");
  const sent = metrics.downloadedBytes.labels("http");
  return async (updateId, identity, signal) => {
    const deviceId = callingDevice(identity);
    if (!isUuid(updateId)) throw notOffered();
    // Nothing is read before it is iterated.
    const content = await offers.openDownload(deviceId, updateId, { offset: 0, limit: 0, signal });
    return {
      sizeBytes: content.sizeBytes,
      sha256: content.sha256,
      elsewhere: async () => {
        const direct = content.direct ? await directUrls.of(content.sha256) : undefined;
        if (direct !== undefined) directed.inc();
        return direct?.url;
      },
      read: (offset, length) => counted(content.read(offset, length), sent),
    };
  };
}

async function* download(
  { offers, directUrls, metrics }: DownloadParts,
  { updateId, offset, limit, acceptUrl }: MessageShape<typeof DownloadFirmwareRequestSchema>,
  { identity, signal, door }: CallContext,
): AsyncGenerator<MessageInitShape<typeof DownloadFirmwareResponseSchema>> {
  // Numbers past 2^53 lose precision, but lie past every end anyway.
  const range = { offset: Number(offset), limit: Number(limit), signal };
  const opened = await offers.openDownload(callingDevice(identity), updateId, range);
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

async function* counted(
  pieces: AsyncIterable<Piece>,
  sent: { inc(by: number): void },
): AsyncGenerator<Piece> {
  for await (const piece of pieces) {
    const { length } = piece.data;
    yield piece;
    sent.inc(length);
  }
}
