import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason } from "../../../gen/ota/v1/update_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { toDeviceUpdateMessage } from "../wire/rollout-messages.ts";
import type { UpdateExplainer } from "./update-explainer.ts";

/** RolloutService.ExplainUpdate: why. */
export function explainEndpoints({ explainer }: { readonly explainer: UpdateExplainer }): Endpoint[] {
  return [
    unary(RolloutService.method.explainUpdate, apiCalls, async ({ rolloutId, deviceId }) => {
      const { message, reason, ring, rules, update } = await explainer.explain(rolloutId, deviceId);
      return {
        summary: message,
        offered: reason === undefined,
        noOfferReason: reason === undefined ? NoOfferReason.UNSPECIFIED : NoOfferReason[reason],
        rules: rules.map((rule) => ({ ...rule })),
        ...(update === undefined ? {} : { deviceUpdate: toDeviceUpdateMessage(update) }),
        ring,
      };
    }),
  ];
}
