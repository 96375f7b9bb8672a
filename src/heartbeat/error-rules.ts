import { isUuid } from "../call/uuid.ts";
import type { DeviceError } from "../device/state/heartbeat-record.ts";
import { type Severity, severities } from "../device/state/severity.ts";
import type { FieldViolation } from "../errors.ts";
import { choiceViolation, storableText, textViolation } from "./value-checks.ts";

/** Finds the first thing in the errors of a heartbeat that the contract does not allow. */
export function errorsViolation(errors: readonly DeviceError[]): FieldViolation | undefined {
  if (errors.length > maxErrors) return tooManyErrors;
  for (const [index, error] of errors.entries()) {
    const violation = errorViolation(`errors[${index}]`, error);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

/**
 * What of a heartbeat's errors can be kept, and whatever was wrong with them to `note`: a text that is too long keeps its
 * beginning, an error without a code is left out, all else loses what is wrong with it. A crash must not go unheard for a
 * letter in its message.
 */
export function keepableErrors(
  errors: readonly DeviceError[],
  note: (violation: FieldViolation) => void,
): readonly DeviceError[] {
  if (errors.length > maxErrors) note(tooManyErrors);
  return errors.slice(0, maxErrors).flatMap((error, index) => {
    const path = `errors[${index}]`;
    if (errorViolation(path, error) === undefined) return [error];
    if (error.code === "") {
      note(codeRequired(path));
      return [];
    }
    return [keepableError(path, error, note)];
  });
}

/** The most error reports of a heartbeat. */
const maxErrors = 16;

const tooManyErrors: FieldViolation = {
  field: "errors",
  description: `must have at most ${maxErrors} entries`,
};

/** The texts of an error and the most characters of each. */
const errorTexts = [
  ["code", 64],
  ["message", 2_000],
  ["stack", 16_000],
] as const;

/** What an error is that names none of the contract's severities. */
const unknownSeverity: Severity = "UNSPECIFIED";

function errorViolation(path: string, error: DeviceError): FieldViolation | undefined {
  if (error.code === "") return codeRequired(path);
  const violation = choiceViolation(`${path}.severity`, error.severity, severities);
  if (violation !== undefined) return violation;
  for (const [name, most] of errorTexts) {
    const found = textViolation(`${path}.${name}`, error[name], most);
    if (found !== undefined) return found;
  }
  return (
    fingerprintViolation(`${path}.fingerprint`, error.fingerprint) ??
    (error.context === undefined ? undefined : contextViolation(`${path}.context`, error.context)) ??
    crashLogViolation(`${path}.crash_log_id`, error.crashLogId)
  );
}

function codeRequired(path: string): FieldViolation {
  return { field: `${path}.code`, description: "is required" };
}

function keepableError(
  path: string,
  error: DeviceError,
  note: (violation: FieldViolation) => void,
): DeviceError {
  const kept = { ...error };
  const noted = (violation: FieldViolation | undefined): boolean => {
    if (violation !== undefined) note(violation);
    return violation !== undefined;
  };
  if (noted(choiceViolation(`${path}.severity`, error.severity, severities))) kept.severity = unknownSeverity;
  for (const [name, most] of errorTexts) {
    if (noted(textViolation(`${path}.${name}`, error[name], most)))
      kept[name] = storableText(error[name], most);
  }
  if (noted(fingerprintViolation(`${path}.fingerprint`, error.fingerprint))) kept.fingerprint = undefined;
  if (error.context !== undefined && noted(contextViolation(`${path}.context`, error.context)))
    kept.context = keepableContext(error.context);
  if (noted(crashLogViolation(`${path}.crash_log_id`, error.crashLogId))) kept.crashLogId = undefined;
  return kept;
}

/** The most entries of an error's context. */
const maxContextEntries = 16;

const maxContextName = 64;

const maxContextText = 256;

function contextViolation(
  field: string,
  context: Readonly<Record<string, string>>,
): FieldViolation | undefined {
  let count = 0;
  for (const [name, value] of Object.entries(context)) {
    if (++count > maxContextEntries)
      return { field, description: `must have at most ${maxContextEntries} entries` };
    if (!isContextName(name))
      return { field, description: "names must be 1 to 64 characters of well-formed text without NUL" };
    const violation = textViolation(`${field}["${name}"]`, value, maxContextText);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

function keepableContext(context: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(context)
    .filter(([name]) => isContextName(name))
    .slice(0, maxContextEntries);
  return Object.fromEntries(entries.map(([name, value]) => [name, storableText(value, maxContextText)]));
}

function isContextName(name: string): boolean {
  return name !== "" && textViolation("", name, maxContextName) === undefined;
}

/** Half of a fingerprint is another one: it is left out, and the service makes its own. */
function fingerprintViolation(field: string, fingerprint: string | undefined): FieldViolation | undefined {
  return fingerprint === undefined ? undefined : textViolation(field, fingerprint, maxFingerprint);
}

const maxFingerprint = 128;

function crashLogViolation(field: string, id: string | undefined): FieldViolation | undefined {
  if (id === undefined || isUuid(id)) return undefined;
  return { field, description: "must be the id of an uploaded crash log (a UUID)" };
}
