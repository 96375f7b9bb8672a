import { serialNumberFault } from "../device-names.ts";

/**
 * Whether a pattern matches the whole of a serial number. `*` stands for any characters, or none; all else stands for itself. No regular
 * expression: the parts between the stars are looked for one behind the other, so the time is that of looking through the text.
 */
export function matchesSerialPattern(pattern: string, serialNumber: string): boolean {
  const parts = pattern.split("*");
  const [first = ""] = parts;
  if (parts.length === 1) return serialNumber === first;
  const last = parts.at(-1) ?? "";
  if (serialNumber.length < first.length + last.length) return false;
  if (!serialNumber.startsWith(first) || !serialNumber.endsWith(last)) return false;
  const end = serialNumber.length - last.length;
  let from = first.length;
  // The first place is the best one: whatever comes behind has more room.
  for (const part of parts.slice(1, -1)) {
    const place = serialNumber.indexOf(part, from);
    if (place === -1 || place + part.length > end) return false;
    from = place + part.length;
  }
  return true;
}

/** What is wrong with a pattern, in words; undefined if nothing is. With letters for its stars it must be a serial number. */
export function serialPatternFault(pattern: string): string | undefined {
  return serialNumberFault(pattern.replaceAll("*", "x"));
}
