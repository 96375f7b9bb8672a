import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  CreateRolloutRequestSchema,
  GetRolloutDefaultsResponse,
} from "../../../gen/ota/v1/rollout_service_pb.js";
import { type Field, type Fields, type Given, mapFields } from "../../policy/field.ts";
import { gateFields } from "../../policy/gate-fields.ts";
import { policyFields } from "../../policy/policy-fields.ts";
import { toGateMessage, toPolicyMessage } from "../../policy/policy-messages.ts";

/** What is written in a field's input; an empty text, or false, leaves the service its default. */
type FieldInput = string | number | boolean;

/** The inputs of some fields, by their names. */
type FieldInputs<F extends Fields> = { readonly [Name in keyof F]: FieldInput };

/** One ring as the form holds it. */
export interface RingForm {
  readonly name: string;
  readonly percent: number | string;
  /** So many devices instead of the share; empty: the share counts. */
  readonly devices: number | string;
  readonly gate: FieldInputs<typeof gateFields>;
}

/** A maintenance window as the form holds it. */
export interface WindowForm {
  /** `1` for Monday to `7` for Sunday; none for every day. */
  readonly weekdays: string[];
  /** `HH:MM`. */
  readonly start: string;
  readonly hours: number | string;
  /** By its IANA name; empty for UTC. */
  readonly timeZone: string;
}

/** What the form for a new rollout holds. */
export interface RolloutForm {
  readonly firmwareId: string;
  readonly name: string;
  readonly deviceTypes: string[];
  readonly hardwareModels: string[];
  readonly groups: string[];
  readonly excludedGroups: string[];
  readonly canaryGroups: string[];
  readonly percent: number | string;
  readonly tags: string[];
  readonly versionRange: string;
  readonly filter: string;
  readonly rings: RingForm[];
  /** All but the maintenance windows, which have inputs of their own. */
  readonly policy: FieldInputs<typeof policyFields>;
  readonly windows: WindowForm[];
}

/** A form that wants nothing but the service's defaults, whose rings it names so that they can be changed. */
export function newRolloutForm(firmwareId: string, defaults: GetRolloutDefaultsResponse): RolloutForm {
  return {
    firmwareId,
    name: "",
    deviceTypes: [],
    hardwareModels: [],
    groups: [],
    excludedGroups: [],
    canaryGroups: [],
    percent: "",
    tags: [],
    versionRange: "",
    filter: "",
    rings: defaultRings(defaults),
    policy: emptyInputs(policyFields),
    windows: [],
  };
}

/** A ring with the default gate. */
export function ring(name: string, percent: number): RingForm {
  return { name, percent, devices: "", gate: emptyInputs(gateFields) };
}

/** A window on every night, in the operator's own time zone. */
export function nightlyWindow(): WindowForm {
  return {
    weekdays: [],
    start: "02:00",
    hours: 3,
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  };
}

/** What is wrong with the rings, in words; undefined if nothing is. */
export function ringsFault(rings: readonly RingForm[]): string | undefined {
  if (rings.length === 0) return "There must be at least one ring.";
  let before = 0;
  let devicesBefore = 0;
  const names = new Set<string>();
  for (const { name, percent, devices } of rings) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
      return `“${name}” is no name for a ring: use letters, digits, dots, underscores and dashes.`;
    if (names.has(name)) return `Two rings are called ${name}.`;
    names.add(name);
    if (devices !== "") {
      const target = Number(devices);
      if (!(target > devicesBefore && target <= maxDevices))
        return `${name} must hold more than ${devicesBefore} devices, and at most ${maxDevices}.`;
      devicesBefore = target;
      continue;
    }
    const share = Number(percent);
    if (!(share > before && share <= 100))
      return `The share of ${name} must lie above ${before} % and be at most 100 %.`;
    before = share;
  }
  return undefined;
}

/**
 * The request that the form stands for. It says only what the operator touched: for the rest the service's defaults hold,
 * as they are when the request arrives.
 */
export function rolloutRequest(
  form: RolloutForm,
  defaults: GetRolloutDefaultsResponse,
): MessageInitShape<typeof CreateRolloutRequestSchema> {
  const isTouched = JSON.stringify(form.rings) !== JSON.stringify(defaultRings(defaults));
  return {
    firmwareId: form.firmwareId,
    name: form.name.trim(),
    targeting: {
      deviceTypes: form.deviceTypes,
      hardwareModels: form.hardwareModels,
      groups: form.groups,
      excludedGroups: form.excludedGroups,
      canaryGroups: form.canaryGroups,
      ...(form.percent === "" ? {} : { percent: Number(form.percent) }),
      tags: form.tags,
      currentVersionRange: form.versionRange.trim(),
      filter: form.filter.trim(),
    },
    policy: toPolicyMessage({
      ...givenByInputs(policyFields, form.policy),
      ...(form.windows.length === 0
        ? {}
        : {
            maintenanceWindows: form.windows.map(({ weekdays, start, hours, timeZone }) => ({
              weekdays: weekdays.map(Number).toSorted((a, b) => a - b),
              start,
              durationMs: Math.round(Number(hours) * unitSizes.h),
              timeZone: timeZone.trim(),
            })),
          }),
    }),
    rings: isTouched
      ? form.rings.map(({ name, percent, devices, gate }) => ({
          name,
          ...(devices === "" ? { percent: Number(percent) } : { devices: Number(devices) }),
          gate: toGateMessage(givenByInputs(gateFields, gate)),
        }))
      : [],
  };
}

/** The most devices that a ring can be asked to hold. */
export const maxDevices = 1_000_000;

/** How much of what is stored one unit of the form is: milliseconds or bytes. */
export const unitSizes = { min: 60_000, h: 3_600_000, MiB: 1_048_576 } as const;

function defaultRings({ rings }: GetRolloutDefaultsResponse): RingForm[] {
  return rings.map(({ name, percent }) => ring(name, percent));
}

function emptyInputs<F extends Fields>(fields: F): FieldInputs<F> {
  return mapFields(fields, (_, { kind }) => (kind === "flag" ? false : "")) as FieldInputs<F>;
}

function givenByInputs<F extends Fields>(fields: F, inputs: FieldInputs<F>): Given<F> {
  return mapFields(fields, (name, field) => {
    const input: FieldInput = inputs[name] ?? "";
    return input === "" || input === false ? undefined : givenByInput(field, input);
  }) as Given<F>;
}

function givenByInput({ kind, unit }: Field, input: FieldInput): unknown {
  switch (kind) {
    case "flag":
      return true;
    case "choice":
    case "firmware":
      return input;
    case "time":
      return new Date(String(input));
    case "windows":
      return undefined;
    default:
      return unit === undefined ? Number(input) : Math.round(Number(input) * unitSizes[unit]);
  }
}
