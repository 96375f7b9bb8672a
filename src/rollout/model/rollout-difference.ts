import { isDeepStrictEqual } from "node:util";
import { snakeCase } from "../../call/snake-case.ts";
import type { Field, Fields, Filled, Given } from "../../policy/field.ts";
import { gateFields } from "../../policy/gate-fields.ts";
import { policyFields } from "../../policy/policy-fields.ts";
import {
  type NewRollout,
  type PlannedRing,
  planPolicy,
  planRings,
  planTargeting,
  type RolloutDefaults,
} from "./new-rollout.ts";
import type { Metadata } from "./rollout.entity.ts";
import type { Ring, Rollout } from "./rollout.ts";

/**
 * In what a rollout differs from what is wanted, as paths in the request: of the policy and the gates only what is said
 * counts, of the targeting all, if any of it is said, and the rings, if any are.
 */
export function differencesOf(rollout: Rollout, wanted: NewRollout, defaults: RolloutDefaults): string[] {
  return [
    ...targetingDifferences(rollout, wanted),
    ...fieldDifferences("policy", policyFields, wanted.policy, {
      planned: planPolicy(wanted.policy, defaults),
      is: rollout.policy,
    }),
    ...ringDifferences(rollout, wanted),
    ...metadataDifferences("metadata", wanted.metadata, rollout.metadata),
    ...(wanted.salt === undefined || wanted.salt === rollout.salt ? [] : ["salt"]),
  ];
}

function metadataDifferences(path: string, said: Metadata | undefined, is: Metadata): string[] {
  return said === undefined || isSame(said, is) ? [] : [path];
}

function targetingDifferences({ targeting }: Rollout, wanted: NewRollout): string[] {
  const said = Object.values(wanted.targeting).some((value) => value !== undefined && !isEmpty(value));
  if (!said) return [];
  const planned = planTargeting(wanted.targeting);
  return Object.entries(planned)
    .filter(([name, value]) => !isSame(value, targeting[name as keyof typeof planned]))
    .map(([name]) => `targeting.${name === "percentBasisPoints" ? "percent" : snakeCase(name)}`);
}

function ringDifferences({ rings }: Rollout, wanted: NewRollout): string[] {
  if (wanted.rings.length === 0) return [];
  const planned = planRings(wanted.rings);
  if (planned.length !== rings.length) return ["rings"];
  return planned.flatMap((plan, at) => {
    const ring = rings[at];
    const path = `rings[${at}]`;
    if (ring === undefined || plan.name !== ring.name) return [`${path}.name`];
    return [
      ...reachDifferences(path, plan, ring),
      ...metadataDifferences(`${path}.metadata`, wanted.rings[at]?.metadata, ring.metadata),
      ...fieldDifferences(`${path}.gate`, gateFields, wanted.rings[at]?.gate ?? {}, {
        planned: plan.gate,
        is: ring.gate,
      }),
    ];
  });
}

/** A ring that was asked for so many devices has become some share since; one that held nobody reaches further. */
function reachDifferences(path: string, plan: PlannedRing, ring: Ring): string[] {
  if (plan.deviceTarget !== ring.deviceTarget) return [`${path}.devices`];
  if (
    plan.deviceTarget !== undefined ||
    plan.percentBasisPoints === (ring.askedBasisPoints ?? ring.percentBasisPoints)
  )
    return [];
  return [`${path}.percent`];
}

/** The fields that are said, and planned otherwise than they are. */
function fieldDifferences<F extends Fields>(
  path: string,
  fields: F,
  said: Given<F>,
  { planned, is }: { readonly planned: Readonly<Filled<F>>; readonly is: Readonly<Filled<F>> },
): string[] {
  return Object.entries<Field>(fields)
    .filter(([name]) => said[name] !== undefined && !isDeepStrictEqual(planned[name], is[name]))
    .map(([name, { wire = name }]) => `${path}.${snakeCase(wire)}`);
}

/** Whether both hold the same, lists in any order. */
function isSame(one: unknown, other: unknown): boolean {
  const [a, b] = [one, other].map((value) => (Array.isArray(value) ? new Set<unknown>(value) : value));
  return isDeepStrictEqual(a, b);
}

function isEmpty(value: string | number | readonly string[]): boolean {
  return typeof value !== "number" && value.length === 0;
}
