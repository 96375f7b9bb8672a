import {
  type ChoiceTest,
  type Filter,
  type FilterField,
  type FilterTest,
  type FilterVocabulary,
  type FieldPath as PathOf,
  parseFilter,
} from "../../filter/filter.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { Presence } from "../state/presence.ts";
import type { Standing } from "../state/standing.ts";
import { deviceFilterFields, type FieldName, pinNames, presences, standingNames } from "./filter-fields.ts";

/** A checked filter over devices. What a device has not told matches no test, so NOT of such a test matches it. */
export type DeviceFilter = Filter<FieldName, DeviceChoice>;

/** One question about a device. */
export type DeviceTest = FilterTest<FieldName> | DeviceChoice;

/** A question about a choice; what those of the catalogue mean is known here. */
type DeviceChoice =
  | ChoiceTest<FieldName>
  | { readonly kind: "presence"; readonly negated: boolean; readonly presence: Presence }
  | { readonly kind: "pin"; readonly negated: boolean; readonly pin: UpdatePin }
  | { readonly kind: "standing"; readonly negated: boolean; readonly standing: Standing };

/** A field of devices, and of a map the name of its entry. */
export type FieldPath = PathOf<FieldName>;

/**
 * Reads a filter over devices (https://google.aip.dev/160); a blank one matches every device. Throws `INVALID_FILTER`
 * with the place and what was expected there. `field` is the path of the filter in the request.
 */
export function parseDeviceFilter(text: string, field = "filter"): DeviceFilter {
  return meant(parseFilter(text, vocabulary, field));
}

const vocabulary: FilterVocabulary<FieldName> = {
  fields: new Map(deviceFilterFields.map((each): [string, FilterField<FieldName>] => [each.name, each])),
  searched: ["serial_number", "display_name"],
};

function meant(filter: Filter<FieldName>): DeviceFilter {
  switch (filter.kind) {
    case "and":
    case "or":
      return { kind: filter.kind, operands: filter.operands.map(meant) };
    case "not":
      return { kind: "not", operand: meant(filter.operand) };
    case "choice":
      return choice(filter);
    default:
      return filter;
  }
}

function choice(test: ChoiceTest<FieldName>): DeviceChoice {
  const { negated, value } = test;
  const presence = presences[value];
  const pin = pinNames[value];
  const standing = standingNames[value];
  if (test.field.name === "presence" && presence !== undefined)
    return { kind: "presence", negated, presence };
  if (test.field.name === "standing" && standing !== undefined)
    return { kind: "standing", negated, standing };
  if (test.field.name === "update_pin" && pin !== undefined) return { kind: "pin", negated, pin };
  return test;
}
