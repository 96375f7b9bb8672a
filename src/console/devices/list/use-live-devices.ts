import { useMemo, useRef, useState } from "react";
import { type Device, Presence } from "../../../../gen/ota/v1/device_pb.js";
import { DeviceService, type WatchFleetResponse } from "../../../../gen/ota/v1/device_service_pb.js";
import { useRefresh } from "../../data/use-refresh.ts";
import type { ServerStream } from "../../data/use-server-stream.ts";
import { useFleetStream } from "../../session/use-fleet-stream.ts";

interface LiveDevices {
  /** The devices as they were read, with the presence that they have now. */
  readonly rows: readonly Device[] | undefined;
  /** Undefined for a token that may not follow the fleet. */
  readonly stream: ServerStream | undefined;
}

/** Keeps a list's devices up to date by the fleet's stream: who came and went, however far the list was read. */
export function useLiveDevices(rows: readonly Device[] | undefined): LiveDevices {
  const [changed, setChanged] = useState<ReadonlyMap<string, Presence>>(none);
  const total = useRef<bigint>(undefined);
  const count = useRefresh(countMs, DeviceService.method.countDevices);
  const stream = useFleetStream((moment) => {
    setChanged((known) => withChanges(known, moment));
    const isOther = total.current !== undefined && moment.overview?.totalCount !== total.current;
    total.current = moment.overview?.totalCount;
    if (isOther || moment.presenceChanges.length > 0) count();
  });
  const live = useMemo(
    () =>
      rows?.map((device) => {
        const presence = changed.get(device.id);
        return presence === undefined || presence === device.presence ? device : { ...device, presence };
      }),
    [rows, changed],
  );
  return { rows: live, stream };
}

const none: ReadonlyMap<string, Presence> = new Map();

/** How often the devices are counted again at most. */
const countMs = 5_000;

/** More devices than this nobody has in sight. */
const mostKept = 20_000;

function withChanges(
  known: ReadonlyMap<string, Presence>,
  { presenceChanges, presenceChangesLost }: WatchFleetResponse,
): ReadonlyMap<string, Presence> {
  if (presenceChanges.length === 0 && !presenceChangesLost) return known;
  // With some missing, what is known may be older than what was read.
  const all = new Map(presenceChangesLost || known.size > mostKept ? none : known);
  for (const { deviceId, presence } of presenceChanges) {
    if (presence !== Presence.UNSPECIFIED) all.set(deviceId, presence);
  }
  return all;
}
