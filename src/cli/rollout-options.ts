import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Command, Option } from "commander";
import type {
  RingSpecSchema,
  RolloutPolicySchema,
  RolloutTargetingSchema,
} from "../../gen/ota/v1/rollout_pb.js";
import { fieldGroups, fieldsWhere } from "../policy/field.ts";
import { defaultRings, gateFields } from "../policy/gate-fields.ts";
import { policyFields } from "../policy/policy-fields.ts";
import { toGateMessage, toPolicyMessage } from "../policy/policy-messages.ts";
import {
  collectList,
  collectNames,
  collectPairs,
  type ParsedRing,
  parsePercent,
  parseRings,
} from "./parse.ts";
import { addFieldOptions, givenByOptions } from "./policy-options.ts";
import { firmwareId } from "./references.ts";
import type { Session } from "./session.ts";

/** How a new rollout shall proceed, as the options of `firmware deploy` and `rollout create` say it. */
export interface RolloutOptions {
  readonly deviceType?: string[];
  readonly model?: string[];
  readonly group?: string[];
  readonly fromVersions?: string;
  readonly tag?: string[];
  readonly filter?: string;
  readonly excludeGroup?: string[];
  readonly canaryGroup?: string[];
  readonly percent?: number;
  readonly rings?: ParsedRing[];
  /** The options of the policy and of the gates. */
  readonly [option: string]: unknown;
}

/** What only those say that create a rollout. */
export interface NewRolloutOptions extends RolloutOptions {
  readonly metadata?: Record<string, string>;
  readonly salt?: string;
}

/** The keys of {@link NewRolloutOptions}. */
export function metadataOption(): Option {
  const option = new Option("--metadata <name=value>", "a key that an integration keeps with it; repeatable");
  return option.argParser(collectPairs);
}

/** The parts of a request that create a rollout. */
export interface RolloutParts {
  readonly targeting?: MessageInitShape<typeof RolloutTargetingSchema>;
  readonly policy?: MessageInitShape<typeof RolloutPolicySchema>;
  readonly rings?: MessageInitShape<typeof RingSpecSchema>[];
}

/** Adds the options that {@link rolloutParts} reads. */
export function addRolloutOptions(command: Command): Command {
  command
    .optionsGroup("Whom to reach (by default every device that the firmware fits):")
    .option("--device-type <names>", "only these device types", collectNames)
    .option("--model <names>", "only these hardware models", collectNames)
    .option("--group <names>", "only devices in one of these groups", collectList)
    .option("--from-versions <range>", "only devices whose version lies in this range, e.g. '>=1.2.0 <2.0.0'")
    .option("--tag <names>", "only devices with one of these tags", collectList)
    .option("--filter <filter>", "only devices that match this filter, e.g. 'metadata.site = berlin'")
    .option("--exclude-group <names>", "never devices in one of these groups", collectList)
    .option("--canary-group <names>", "devices in one of these groups are in the first ring", collectList)
    .option("--percent <percent>", "only this share of them (default: 100)", parsePercent);
  const rings = defaultRings.map(({ name, percent }) => `${name}=${percent}`).join(",");
  command
    .optionsGroup(`Rings and their gates (default: ${rings}):`)
    .option(
      "--rings <rings>",
      "rings with what each reaches with those before it: a share (5%) or so many devices (10devices)",
      parseRings,
    );
  addFieldOptions(command, gateFields);
  for (const [group, { title }] of Object.entries(fieldGroups)) {
    command.optionsGroup(`${title}:`);
    addFieldOptions(
      command,
      fieldsWhere(policyFields, (field) => field.group === group),
    );
  }
  return command;
}

/** Says which devices are in which ring of a new rollout, as a preview told. */
export function saltOption(): Option {
  return new Option("--salt <uuid>", "the salt of a preview, to have the very rings that it told");
}

/** As {@link rolloutParts}; firmware to go back to may be named as product@version. */
export async function resolvedRolloutParts(session: Session, options: RolloutOptions): Promise<RolloutParts> {
  const parts = rolloutParts(options);
  const reference = parts.policy?.rollbackFirmwareId;
  if (reference === undefined) return parts;
  return { ...parts, policy: { ...parts.policy, rollbackFirmwareId: await firmwareId(session, reference) } };
}

/** Turns the options into the parts of a request; parts that no option touches are left to the service's defaults. */
export function rolloutParts(options: RolloutOptions): RolloutParts {
  const targeting = {
    deviceTypes: options.deviceType ?? [],
    hardwareModels: options.model ?? [],
    groups: options.group ?? [],
    currentVersionRange: options.fromVersions ?? "",
    tags: options.tag ?? [],
    filter: options.filter ?? "",
    excludedGroups: options.excludeGroup ?? [],
    canaryGroups: options.canaryGroup ?? [],
    ...(options.percent === undefined ? {} : { percent: options.percent }),
  };
  const policy = toPolicyMessage(givenByOptions(policyFields, options));
  const gate = toGateMessage(givenByOptions(gateFields, options));
  const isGated = Object.keys(gate).length > 0;
  const rings = options.rings ?? (isGated ? defaultRings : undefined);
  const targeted = Object.values(targeting).some((value) => typeof value === "number" || value.length > 0);
  return {
    ...(targeted ? { targeting } : {}),
    ...(Object.keys(policy).length > 0 ? { policy } : {}),
    ...(rings === undefined ? {} : { rings: rings.map((ring) => (isGated ? { ...ring, gate } : ring)) }),
  };
}
