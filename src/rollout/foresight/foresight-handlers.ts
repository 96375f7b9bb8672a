import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason } from "../../../gen/ota/v1/update_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import type { NamedCount } from "../preview/preview-tally.ts";
import type { RolloutPreview } from "../preview/rollout-preview.ts";
import { fromNewRollout, toCensusMessage } from "../wire/rollout-messages.ts";
import { toWarningMessage } from "../wire/warning-messages.ts";
import { rolloutWarnings, type WarningParts } from "./rollout-warnings.ts";

/** What the endpoint of previews works on. */
export interface ForesightEndpointParts extends WarningParts {
  readonly preview: RolloutPreview;
}

/** RolloutService.PreviewRollout: what if, and what to know before. */
export function foresightEndpoints(parts: ForesightEndpointParts): Endpoint[] {
  return [
    unary(RolloutService.method.previewRollout, apiCalls, async (request, { signal }) => {
      const preview =
        request.rolloutId === ""
          ? await parts.preview.ofNew(fromNewRollout({ ...request, name: "" }), signal)
          : await parts.preview.ofRollout(request.rolloutId, signal);
      const warnings = await rolloutWarnings(preview, parts);
      const countTime = timestampFromDate(preview.countedAt);
      return {
        salt: preview.rollout.salt,
        targetedCount: BigInt(preview.targetedCount),
        rings: preview.rings.map(({ name, census }) => toCount({ name, count: census.devices })),
        ringCensus: preview.rings.map(({ census }) => ({ ...toCensusMessage(census), countTime })),
        hardwareModels: preview.hardwareModels.map(toCount),
        currentVersions: preview.currentVersions.map(toCount),
        readyCount: BigInt(preview.readyCount),
        unknownReadingsCount: BigInt(preview.unknownReadingsCount),
        heldBack: preview.heldBack.map(({ reason, message, count, deviceIds }) => ({
          reason: NoOfferReason[reason],
          message,
          count: BigInt(count),
          deviceIds: [...deviceIds],
        })),
        countTime,
        warnings: warnings.map(toWarningMessage),
      };
    }),
  ];
}

function toCount({ name, count }: NamedCount): { name: string; count: bigint } {
  return { name, count: BigInt(count) };
}
