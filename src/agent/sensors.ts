import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ErrorReportSchema, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";

/** What a device measures; what it cannot measure is left out. */
export type SensorReading = Pick<
  MessageInitShape<typeof HeartbeatSchema>,
  | "batteryPercent"
  | "charging"
  | "cpuPercent"
  | "memoryPercent"
  | "storageFreeBytes"
  | "temperatureCelsius"
  | "location"
  | "network"
  | "metrics"
>;

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
