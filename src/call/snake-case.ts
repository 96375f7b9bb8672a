/** A property's name as the contract and the database write it: `deviceTypes` is `device_types`. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
