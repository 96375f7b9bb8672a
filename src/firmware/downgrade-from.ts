import { parseManifest } from "../manifest/manifest.ts";
import type { Firmware } from "./firmware.ts";

/** The newest version from which devices may go back to a firmware that they never ran; empty if its manifest lets none. */
export function downgradeFrom({ manifest }: Pick<Firmware, "manifest">): string {
  return manifest === undefined ? "" : (parseManifest(manifest).downgradeFrom ?? "");
}
