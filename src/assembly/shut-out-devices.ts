import { deviceBlocked } from "../call/bearer.ts";
import type { DeviceChange, DeviceChanges } from "../device/state/device-changes.ts";
import { OtaError } from "../errors.ts";

/** Whatever devices have open. */
interface Connections {
  disconnect(deviceId: string, why: OtaError): void;
  /** Nobody was told of some changes: those that are shut out must be found. */
  noticesMissed?(): void;
}

/** Cuts what a device has open as soon as a change says that it may not call any more, or not with what it came with. */
export function cutShutOutDevices(
  changes: Pick<DeviceChanges, "subscribe">,
  connections: readonly Connections[],
): void {
  changes.subscribe({
    deviceChanged: (change) => {
      const why = shutOutBy(change);
      if (why !== undefined) for (const open of connections) open.disconnect(change.deviceId, why);
    },
    changesMissed: () => {
      for (const open of connections) open.noticesMissed?.();
    },
  });
}

function shutOutBy({ kind }: DeviceChange): OtaError | undefined {
  if (kind === "updated" || kind === "token_rotation_requested") return undefined;
  if (kind === "blocked") return deviceBlocked();
  return new OtaError("unauthenticated", "CREDENTIAL_REVOKED", "the device's credentials were revoked");
}
