import type { MessageShape } from "@bufbuild/protobuf";
import {
  FirmwareService,
  type PreviewRecallRequestSchema,
  type RecallFirmwareRequestSchema,
} from "../../../gen/ota/v1/firmware_service_pb.js";
import { NoOfferReason } from "../../../gen/ota/v1/update_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import { listPage } from "../../call/list-page.ts";
import type { PageTokens } from "../../call/page-token.ts";
import { toRecallMessage } from "../../firmware/firmware-messages.ts";
import { fromPolicyMessage } from "../../policy/policy-messages.ts";
import { toVerbEffectMessage } from "../wire/rollout-messages.ts";
import type { RecallCatalog } from "./recall-catalog.ts";
import type { RecallPreview } from "./recall-preview.ts";
import type { VersionName } from "./recalled-version.ts";
import type { WantedRecall } from "./wanted-recall.ts";

/** What the endpoints of recalls work on. */
export interface RecallEndpointParts {
  readonly recalls: RecallCatalog;
  readonly recallPreview: RecallPreview;
  readonly pageTokens: PageTokens;
}

/** FirmwareService: which versions no device may run, which makes and ends rollouts. */
export function recallEndpoints({ recalls, recallPreview, pageTokens }: RecallEndpointParts): Endpoint[] {
  const { method } = FirmwareService;
  return [
    unary(method.recallFirmware, apiCalls, async (request, { identity }) => {
      const by = { actor: actorOf(identity), reason: request.reason };
      const { effect, ...recall } = await recalls.recall(fromRequest(request), by);
      return { recall: toRecallMessage(recall), effect: toVerbEffectMessage(effect) };
    }),

    unary(method.reinstateFirmware, apiCalls, async (request, { identity }) => {
      const by = { actor: actorOf(identity), reason: request.reason };
      return { effect: toVerbEffectMessage(await recalls.reinstate(nameOf(request), by)) };
    }),

    unary(method.previewRecall, apiCalls, async (request, { identity, signal }) => {
      const reach = await recallPreview.of(fromRequest(request), actorOf(identity), signal);
      return {
        runningCount: BigInt(reach.running),
        readyCount: BigInt(reach.ready),
        cannotLeaveCount: BigInt(reach.cannotLeave),
        unfitCount: BigInt(reach.unfit),
        rolloutCount: BigInt(reach.rollouts),
        heldBack: reach.heldBack.map(({ reason, message, count, deviceIds }) => ({
          reason: NoOfferReason[reason],
          message,
          count: BigInt(count),
          deviceIds: [...deviceIds],
        })),
      };
    }),

    unary(method.listRecalls, apiCalls, async (request) => {
      const filter = { product: request.product || undefined };
      const page = await listPage(pageTokens, request, filter, {
        list: (position) => recalls.list(filter, position),
        keyOf: ({ id }) => id,
      });
      return { recalls: page.rows.map(toRecallMessage), nextPageToken: page.nextPageToken };
    }),
  ];
}

type RecallRequest =
  | MessageShape<typeof RecallFirmwareRequestSchema>
  | MessageShape<typeof PreviewRecallRequestSchema>;

function fromRequest(request: RecallRequest): WantedRecall {
  return {
    name: nameOf(request),
    replacementId: request.replacementId,
    policy: fromPolicyMessage(request.policy),
  };
}

function nameOf({ id, product, version }: Pick<RecallRequest, "id" | "product" | "version">): VersionName {
  return id === "" ? { product, version } : { firmwareId: id };
}
