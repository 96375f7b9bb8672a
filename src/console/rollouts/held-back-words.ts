import { NoOfferReason } from "../../../gen/ota/v1/update_service_pb.js";

/** Why a device would not be offered an update now, in a few words. */
export const heldBackWords: Readonly<Record<NoOfferReason, string>> = {
  [NoOfferReason.UNSPECIFIED]: "another reason",
  [NoOfferReason.UP_TO_DATE]: "run this version already",
  [NoOfferReason.RING_NOT_OPEN]: "their ring is not open",
  [NoOfferReason.BATTERY_TOO_LOW]: "battery too low",
  [NoOfferReason.STORAGE_TOO_LOW]: "too little free storage",
  [NoOfferReason.VERSION_TOO_OLD]: "version too old for a direct way",
  [NoOfferReason.TOO_MANY_IN_PROGRESS]: "too many updating at once",
  [NoOfferReason.ROLLOUT_PAUSED]: "the rollout is paused",
  [NoOfferReason.ALREADY_TRIED]: "failed with it, or were rolled back from it",
  [NoOfferReason.SECURITY_COUNTER]: "security counter above the firmware's",
  [NoOfferReason.METERED_NETWORK]: "on a metered network",
  [NoOfferReason.OUTSIDE_MAINTENANCE_WINDOW]: "outside their maintenance window",
  [NoOfferReason.CONSENT_REQUIRED]: "user has not agreed",
  [NoOfferReason.PACED]: "enough offered in this minute",
  [NoOfferReason.DOWNGRADE]: "run a newer version",
  [NoOfferReason.EXCLUDED]: "pinned as excluded",
  [NoOfferReason.BACKING_OFF]: "failed, and wait before they try again",
  [NoOfferReason.NOT_STARTED]: "the rollout has not started",
  [NoOfferReason.NOT_TARGETED]: "not targeted",
  [NoOfferReason.UPDATE_IN_PROGRESS]: "take another update now",
  [NoOfferReason.STEP_MISSING]: "a mandatory step before it is missing",
  [NoOfferReason.OUTRANKED]: "another rollout goes first",
  [NoOfferReason.VERSION_UNKNOWN]: "report a version that nothing explains",
  [NoOfferReason.PRODUCT_UNKNOWN]: "run a product that is not known",
};
