import { targetNameFault } from "../../device-names.ts";
import { invalidArgument } from "../../errors.ts";

/**
 * Throws `INVALID_REQUEST` unless these are names of device types or hardware models, each under the field that it came in.
 * What is undefined was not said. The contract refuses most faults before; what it cannot ask is whether a text is composed.
 */
export function requireTargetNames(names: Readonly<Record<string, string | undefined>>): void {
  for (const [field, name] of Object.entries(names)) {
    const fault = name === undefined ? undefined : targetNameFault(name);
    if (fault !== undefined) throw invalidArgument(field, fault);
  }
}
