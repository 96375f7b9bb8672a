import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason } from "../../../gen/ota/v1/update_service_pb.js";
import { type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { fromNewRollout, toDeviceUpdateMessage } from "../wire/rollout-messages.ts";
import type { NamedCount } from "./preview-tally.ts";
import type { RolloutPreview } from "./rollout-preview.ts";
import type { UpdateExplainer } from "./update-explainer.ts";

/** RolloutService.ExplainUpdate and PreviewRollout: why, and what if. */
export function explainEndpoints(parts: {
  readonly explainer: UpdateExplainer;
  readonly preview: RolloutPreview;
}): Endpoint[] {
  const { method } = RolloutService;
  const options = { access: { role: "viewer" }, rate: "operator" } as const;
  return [
    unary(method.explainUpdate, options, async ({ rolloutId, deviceId }) => {
      const { message, reason, ring, rules, update } = await parts.explainer.explain(rolloutId, deviceId);
      return {
        summary: message,
        offered: reason === undefined,
        noOfferReason: reason === undefined ? NoOfferReason.UNSPECIFIED : NoOfferReason[reason],
        rules: rules.map((rule) => ({ ...rule })),
        ...(update === undefined ? {} : { deviceUpdate: toDeviceUpdateMessage(update) }),
        ring,
      };
    }),

    unary(method.previewRollout, options, async (request, { signal }) => {
      const preview =
        request.rolloutId === ""
          ? await parts.preview.ofNew(fromNewRollout({ ...request, name: "" }), signal)
          : await parts.preview.ofRollout(request.rolloutId, signal);
      return {
        targetedCount: BigInt(preview.targetedCount),
        rings: preview.rings.map(toCount),
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
        countTime: timestampFromDate(preview.countedAt),
      };
    }),
  ];
}

function toCount({ name, count }: NamedCount): { name: string; count: bigint } {
  return { name, count: BigInt(count) };
}
