import type { DeviceChanges } from "../device/state/device-changes.ts";
import type { HeartbeatStreams } from "../heartbeat/heartbeat-streams.ts";

/** Tells devices that hold a stream, on whichever replica, as soon as an operator wants them to exchange their token. */
export function tellWantedRotations(
  changes: Pick<DeviceChanges, "subscribe">,
  streams: Pick<HeartbeatStreams, "send">,
): void {
  changes.subscribe({
    deviceChanged: ({ deviceId, kind }) => {
      if (kind === "token_rotation_requested") streams.send(deviceId, { kind: "rotate_token" });
    },
  });
}
