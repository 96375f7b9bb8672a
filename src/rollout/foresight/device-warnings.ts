import { devicesText } from "../model/devices-text.ts";
import type { Remedy, RolloutWarning, RolloutWarningCode } from "../model/foresight.ts";
import type { Preview } from "../preview/preview-tally.ts";
import type { NoOfferReason } from "../rules/rule.ts";

/** Targeted devices that the update will not reach, not soon, or not as one would think. */
export function deviceWarnings({
  rollout,
  heldBack,
  waiting,
}: Pick<Preview, "rollout" | "heldBack" | "waiting">): RolloutWarning[] {
  const { firmware } = rollout;
  const held = (reason: NoOfferReason): number => heldBack.find((each) => each.reason === reason)?.count ?? 0;
  const all: [
    code: RolloutWarningCode,
    count: number,
    words: string,
    subject?: string,
    remedies?: Remedy[],
  ][] = [
    ...waiting.otherUpdates.map(([rolloutId, count]): [RolloutWarningCode, number, string, string] => [
      "OTHER_UPDATE_OPEN",
      count,
      `at the update of rollout ${rolloutId} now, which comes first`,
      rolloutId,
    ]),
    [
      "PRODUCT_UNKNOWN",
      held("PRODUCT_UNKNOWN"),
      "of a product that is not known, and so offered nothing",
      "",
      [
        {
          action: "SET_PRODUCT",
          message: "an operator can say which product they run",
          product: firmware.product,
        },
      ],
    ],
    [
      "VERSION_UNKNOWN",
      held("VERSION_UNKNOWN"),
      "on a version that nothing explains, and so offered nothing",
      "",
      [
        {
          action: "NAME_VERSION",
          message: "an operator can name it in the reported versions of the firmware that it is",
          product: firmware.product,
        },
      ],
    ],
    [
      "VERSION_TOO_OLD",
      held("VERSION_TOO_OLD") - waiting.versionUntold,
      `on a version that is too old for the update, and so left behind`,
    ],
    ["STEP_MISSING", held("STEP_MISSING"), "before a mandatory step that cannot be had"],
    [
      "SECURITY_COUNTER",
      held("SECURITY_COUNTER"),
      `with a security counter above that of ${firmware.version}, and so never offered it`,
    ],
    ["DEVICES_NEVER_HEARD", waiting.neverHeard, "never heard of"],
    [
      "RETURN_TOO_SHORT",
      waiting.rare,
      `expected so rarely that they would be missing after return_duration (${(rollout.rollout.policy.returnMs ?? 0) / 1_000} s) though they are well`,
    ],
    ["DEVICES_OFFLINE", waiting.offline, "offline, and reached only when back"],
    [
      "READING_UNKNOWN",
      waiting.chargeUnknown,
      `without a word of the charge, for which ${firmware.version} has a minimum`,
      "min_battery_percent",
    ],
    [
      "READING_UNKNOWN",
      // What the size alone asks for need not be told.
      firmware.minFreeStorageBytes > 0 ? waiting.storageUnknown : 0,
      `without a word of the free storage, for which ${firmware.version} has a minimum`,
      "min_free_storage_bytes",
    ],
  ];
  return all
    .filter(([, count]) => count > 0)
    .map(([code, count, words, subject = "", remedies = []]) => ({
      code,
      message: `${devicesText(count)} ${words}`,
      count,
      subject,
      remedies,
    }));
}
