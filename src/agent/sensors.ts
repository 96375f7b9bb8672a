import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ErrorReportSchema, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";

/** What a device measures; what it cannot measure is left out. */
export type SensorReading = Omit<MessageInitShape<typeof HeartbeatSchema>, Unmeasured>;

/** What a heartbeat has that no instrument tells. */
type Unmeasured =
  | "sequence"
  | "deviceTime"
  | "firmwareVersion"
  | "bootId"
  | "uptime"
  | "errors"
  | "securityCounter"
  | "imageSha256"
  | "components"
  | "$typeName"
  | "$unknown";

/** An error or crash to tell the service with the next heartbeat. */
export type ErrorNote = MessageInitShape<typeof ErrorReportSchema>;

/** The device's own instruments. */
export interface Sensors {
  /** Changes with each boot. */
  readonly bootId: string;
  /** Time since boot in milliseconds. */
  uptimeMs(): number;
  /** Measures now. */
  read(): Promise<SensorReading>;
}
