import { type Firmware, FirmwareState, type Recall, UpdateKind } from "../../../gen/ota/v1/firmware_pb.js";
import { counted } from "../ui/format.ts";
import type { Tone } from "../ui/status.tsx";

/** How a firmware's state reads. */
export const firmwareStates: Readonly<Record<FirmwareState, { tone: Tone; text: string; meaning: string }>> =
  {
    [FirmwareState.UNSPECIFIED]: { tone: "idle", text: "Unknown", meaning: "" },
    [FirmwareState.DRAFT]: {
      tone: "idle",
      text: "Draft",
      meaning: "Its content is not there, or not all of it.",
    },
    [FirmwareState.UPLOADED]: {
      tone: "warn",
      text: "Uploaded",
      meaning: "Its content is there and its size and SHA-256 were checked; it is not signed yet.",
    },
    [FirmwareState.RELEASED]: {
      tone: "good",
      text: "Released",
      meaning: "It can be deployed, and what its signatures cover cannot be changed any more.",
    },
  };

/** How many devices run a recalled version still, as a sentence. */
export function runningWords({ runningCount }: Recall): string {
  if (runningCount === undefined) return "How many run it still is being counted.";
  return `${counted(runningCount, "device")} still ${runningCount === 1n ? "runs" : "run"} it.`;
}

/** `thermostat-os 1.4.0`. */
export function firmwareTitle({ product, version }: Pick<Firmware, "product" | "version">): string {
  return `${product} ${version}`;
}

/** Whom a firmware fits, on one line. */
export function firmwareTargets({ deviceTypes, hardwareModels }: Firmware): string {
  const models = hardwareModels.length === 0 ? "every model" : hardwareModels.join(", ");
  return `${deviceTypes.join(", ")} · ${models}`;
}

/** What kind of thing it is. */
export function firmwareKind({ kind, component }: Pick<Firmware, "kind" | "component">): string {
  return kind === UpdateKind.APPLICATION ? `Application ${component}` : "Firmware";
}
