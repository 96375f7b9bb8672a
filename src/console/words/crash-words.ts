import { ErrorGroupState, StackKind } from "../../../gen/ota/v1/error_group_pb.js";
import { Severity } from "../../../gen/ota/v1/heartbeat_pb.js";
import type { Tone } from "../ui/status.tsx";

/** Where a group stands, in words. */
export const groupStates: Readonly<Record<ErrorGroupState, { tone: Tone; text: string }>> = {
  [ErrorGroupState.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [ErrorGroupState.OPEN]: { tone: "bad", text: "Open" },
  [ErrorGroupState.RESOLVED]: { tone: "good", text: "Resolved" },
  [ErrorGroupState.IGNORED]: { tone: "idle", text: "Ignored" },
};

/** How bad an error is, in words. */
export const severities: Readonly<Record<Severity, { tone: Tone; text: string }>> = {
  [Severity.UNSPECIFIED]: { tone: "idle", text: "Not told" },
  [Severity.INFO]: { tone: "idle", text: "Info" },
  [Severity.WARNING]: { tone: "warn", text: "Warning" },
  [Severity.ERROR]: { tone: "bad", text: "Error" },
  [Severity.CRITICAL]: { tone: "bad", text: "Critical" },
};

/** What a stack was recognised as, in words; undefined where there is none. */
export const stackKinds: Readonly<Record<StackKind, string | undefined>> = {
  [StackKind.UNSPECIFIED]: undefined,
  [StackKind.NONE]: undefined,
  [StackKind.NATIVE]: "native",
  [StackKind.PYTHON]: "Python",
  [StackKind.JAVASCRIPT]: "JavaScript",
  [StackKind.RUST]: "Rust",
  [StackKind.JAVA]: "Java",
  [StackKind.KERNEL]: "Linux kernel",
  [StackKind.OTHER]: "of no known kind",
  [StackKind.GO]: "Go",
  [StackKind.DOTNET]: ".NET",
  [StackKind.MICROCONTROLLER]: "microcontroller",
  [StackKind.LUA]: "Lua",
};
