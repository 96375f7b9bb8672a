import { type Remedy, RemedyAction } from "../../gen/ota/v1/remedy_pb.js";
import { cleanText } from "./format.ts";

/** A remedy in words, with the command that does it. */
export function remedyText(remedy: Remedy): string {
  const command = commandOf(remedy);
  const words = cleanText(remedy.message);
  return command === "" ? words : `${words}: \`device-ota ${cleanText(command)}\``;
}

function commandOf({ action, rolloutId, ring, product, version, firmwareId }: Remedy): string {
  switch (action) {
    case RemedyAction.UPLOAD_FIRMWARE:
      return `firmware publish <file> --product ${product} --version ${version} --device-type <type> --key <file>`;
    case RemedyAction.RELEASE_FIRMWARE:
      return `firmware release ${firmwareId}`;
    case RemedyAction.PROMOTE:
      return `rollout promote ${rolloutId}${ring === "" ? "" : ` --ring ${ring}`}`;
    case RemedyAction.APPROVE:
      return `rollout approve ${rolloutId} --ring ${ring}`;
    case RemedyAction.RETRY_DEVICES:
      return `rollout devices ${rolloutId} --ring ${ring} --state failed`;
    case RemedyAction.BRING_ONLINE:
      return "device list --filter 'presence = OFFLINE OR presence = UNKNOWN'";
    case RemedyAction.ROLL_BACK:
      return `rollout rollback ${rolloutId}`;
    case RemedyAction.ABORT:
      return `rollout abort ${rolloutId}`;
    case RemedyAction.SET_PRODUCT:
      return `device correct <device> --product ${product}`;
    case RemedyAction.NAME_VERSION:
      return "firmware reported-as <firmware> <texts...>";
    case RemedyAction.ENROL_DEVICES:
    case RemedyAction.UNSPECIFIED:
      return "";
  }
}
