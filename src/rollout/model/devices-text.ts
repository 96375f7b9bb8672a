/** A number of devices in words: `1 device`, `2 devices`. */
export function devicesText(count: number): string {
  return count === 1 ? "1 device" : `${count} devices`;
}
