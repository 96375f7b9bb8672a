import { invalidArgument } from "../errors.ts";

/** Whether a text is a UUID, in letters of either case. */
export function isUuid(text: string): boolean {
  return pattern.test(text);
}

/** `INVALID_REQUEST` with the field unless the text is a UUID. */
export function requireUuid(field: string, text: string): void {
  if (!isUuid(text)) throw invalidArgument(field, "must be a UUID");
}

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
