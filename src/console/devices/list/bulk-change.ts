import type { MessageInitShape } from "@bufbuild/protobuf";
import { UpdatePin } from "../../../../gen/ota/v1/device_pb.js";
import {
  type BatchUpdateDevicesRequestSchema,
  StandingVerb,
} from "../../../../gen/ota/v1/device_service_pb.js";
import { counted } from "../../ui/format.ts";

type BatchRequest = MessageInitShape<typeof BatchUpdateDevicesRequestSchema>;

/** What can be done to many devices at once. */
export const bulkKinds = [
  "add_groups",
  "remove_groups",
  "add_tags",
  "remove_tags",
  "pin",
  "product",
  "quarantine",
  "approve",
  "block",
  "unblock",
  "exchange_token",
  "retire",
] as const;

/** One of {@link bulkKinds}. */
export type BulkKind = (typeof bulkKinds)[number];

/** The kinds in words. */
export const bulkNames: Readonly<Record<BulkKind, string>> = {
  add_groups: "Put into groups",
  remove_groups: "Take out of groups",
  add_tags: "Add tags",
  remove_tags: "Take tags away",
  pin: "Pin in rollouts",
  product: "Say which product they run",
  quarantine: "Put in quarantine",
  approve: "Approve",
  block: "Block",
  unblock: "Unblock",
  exchange_token: "Have them exchange their token",
  retire: "Retire",
};

/** A change of many devices. */
export interface BulkChange {
  readonly kind: BulkKind;
  /** Of groups or tags. */
  readonly names: readonly string[];
  readonly pin: UpdatePin;
  /** Empty: nobody says which. */
  readonly product: string;
}

/** Whether a change is one of groups or tags, which have names. */
export function hasNames(kind: BulkKind): boolean {
  return kind.endsWith("groups") || kind.endsWith("tags");
}

/** Whether a change says enough to be made. */
export function isComplete({ kind, names }: BulkChange): boolean {
  return !hasNames(kind) || names.length > 0;
}

/** The change's part of the request. */
export function requestOf({ kind, names, pin, product }: BulkChange): BatchRequest {
  switch (kind) {
    case "add_groups":
      return { addGroups: [...names] };
    case "remove_groups":
      return { removeGroups: [...names] };
    case "add_tags":
      return { addTags: [...names] };
    case "remove_tags":
      return { removeTags: [...names] };
    case "pin":
      return { updatePin: pin };
    case "product":
      return { product };
    case "quarantine":
      return { standingVerb: StandingVerb.QUARANTINE };
    case "approve":
      return { standingVerb: StandingVerb.APPROVE };
    case "block":
      return { standingVerb: StandingVerb.BLOCK };
    case "unblock":
      return { standingVerb: StandingVerb.UNBLOCK };
    case "exchange_token":
      return { rotateToken: true };
    case "retire":
      return { retire: true };
  }
}

/** What the change will do, one sentence each. */
export function consequencesOf(change: BulkChange, matched: bigint, changed: bigint): readonly string[] {
  const devices = counted(changed, "device");
  const same = matched - changed;
  return [
    sentence(change, devices),
    ...(same > 0n
      ? [
          `${counted(same, "device")} of ${counted(matched, "device")} stay as they are: they ${change.kind === "exchange_token" ? "are asked already, or have no token" : "have it already"}.`,
        ]
      : []),
    ...(change.kind === "block"
      ? ["Their streams end, their credentials are refused, and their open updates are cancelled."]
      : []),
    ...(change.kind === "exchange_token"
      ? ["Each is told until it comes with a newer token; then the one before works no more."]
      : []),
    ...(change.kind === "retire"
      ? [
          "Their credentials are revoked, their streams end, and their open updates are cancelled.",
          "They are offered nothing any more and are not counted. Their records and histories stay. This cannot be undone.",
        ]
      : []),
  ];
}

function sentence({ kind, names, pin, product }: BulkChange, devices: string): string {
  const list = names.join(", ");
  switch (kind) {
    case "add_groups":
      return `${devices} will be put into ${list}.`;
    case "remove_groups":
      return `${devices} will be taken out of ${list}.`;
    case "add_tags":
      return `${devices} will get ${list}.`;
    case "remove_tags":
      return `${devices} will lose ${list}.`;
    case "pin":
      return `${devices} will be treated by all rollouts so: ${pinWords(pin)}.`;
    case "product":
      return product === ""
        ? `Which product ${devices} run will be told by their versions.`
        : `${devices} will be taken for devices that run ${product}; open updates of other products are called off.`;
    case "quarantine":
      return `${devices} will be heard, and offered no update until they are approved.`;
    case "approve":
      return `${devices} will be offered updates as any other device, and be suspected of no clone.`;
    case "block":
      return `${devices} will be let in no more, until they are unblocked.`;
    case "unblock":
      return `${devices} will be let in again with the credentials that they have.`;
    case "exchange_token":
      return `${devices} will be asked to exchange the token that they come with.`;
    case "retire":
      return `${devices} will be taken out of service.`;
  }
}

function pinWords(pin: UpdatePin): string {
  if (pin === UpdatePin.CANARY) return "always in the first ring";
  if (pin === UpdatePin.EXCLUDED) return "never offered an update";
  return "as any other device";
}
