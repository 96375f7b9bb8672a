import type { MessageInitShape } from "@bufbuild/protobuf";
import { RemedyAction, type RemedySchema } from "../../../gen/ota/v1/remedy_pb.js";
import { RolloutWarningCode, type RolloutWarningSchema } from "../../../gen/ota/v1/rollout_warning_pb.js";
import type { Remedy, RolloutWarning } from "../model/foresight.ts";

/** A warning on the wire. */
export function toWarningMessage({
  code,
  message,
  count,
  subject,
  remedies,
}: RolloutWarning): MessageInitShape<typeof RolloutWarningSchema> {
  return {
    code: RolloutWarningCode[code],
    message,
    count: BigInt(count),
    subject,
    remedies: remedies.map(toRemedyMessage),
  };
}

/** A remedy on the wire. */
export function toRemedyMessage({ action, ...about }: Remedy): MessageInitShape<typeof RemedySchema> {
  return { action: RemedyAction[action], ...about };
}
