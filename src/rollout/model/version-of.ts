/** What shows which versions a device runs: a heartbeat, or a device as it is known. */
export interface RunningVersions {
  readonly firmwareVersion: string;
  /** Versions of applications by component; absent if the device told none. */
  readonly components?: Readonly<Record<string, string>> | undefined;
}

/**
 * The version that a device runs of what an update replaces: its firmware, or the application of that component name. Empty
 * if it is not known, and for an application that is not installed.
 */
export function versionOf(device: RunningVersions, component: string): string {
  if (component === "") return device.firmwareVersion;
  const { components } = device;
  return components !== undefined && Object.hasOwn(components, component)
    ? (components[component] ?? "")
    : "";
}
