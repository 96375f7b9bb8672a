/**
 * The names of what devices are: types, models and serial numbers as makers write them, for example
 * `Raspberry Pi 4 Model B Rev 1.4`, `toradex,verdin-imx8mp` or `NVIDIA Jetson AGX Orin (64GB)`.
 *
 * The contract has the same two patterns (proto/ota/v1), and a test holds them together. Both are written for RE2 and
 * for browsers alike.
 */

/** The most characters of a name. */
export const maxNameLength = 128;

/**
 * A device type or hardware model: printable text without blanks at its ends, tabs, line breaks, invisible characters,
 * quotation marks and backslashes. The last two would need escapes in a manifest, which has none.
 */
export const targetNamePattern = String.raw`^[^\p{C}\p{Z}"\\]( *[^\p{C}\p{Z}"\\])*$`;

/** A serial number: as {@link targetNamePattern}, and quotation marks and backslashes are legal. */
export const serialNumberPattern = String.raw`^[^\p{C}\p{Z}]( *[^\p{C}\p{Z}])*$`;

/** What is wrong with the name of a device type or hardware model, in words; undefined if nothing is. */
export function targetNameFault(name: string): string | undefined {
  if (!targetName.test(name) || lengthOf(name) > maxNameLength) {
    return `must be 1 to ${maxNameLength} printable characters without blanks at the ends, quotation marks and backslashes`;
  }
  return compositionFault(name);
}

/** What is wrong with a serial number, in words; undefined if nothing is. */
export function serialNumberFault(name: string): string | undefined {
  if (!serialNumber.test(name) || lengthOf(name) > maxNameLength) {
    return `must be 1 to ${maxNameLength} printable characters without blanks at the ends`;
  }
  return compositionFault(name);
}

const targetName = new RegExp(targetNamePattern, "u");
const serialNumber = new RegExp(serialNumberPattern, "u");

/** In code points, as the contract counts. */
function lengthOf(name: string): number {
  return Array.from(name).length;
}

/** Two texts that look the same must be the same: an é of one character and one of two would be two models. */
function compositionFault(name: string): string | undefined {
  return name.normalize("NFC") === name ? undefined : "must be composed (Unicode normalisation form C)";
}
