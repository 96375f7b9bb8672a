import { useCallback, useState } from "react";
import type { PresenceChange } from "../../../gen/ota/v1/device_service_pb.js";

/** The newest changes of presence that were seen since the page was opened, newest first. */
export function usePresenceChanges() {
  const [newest, setNewest] = useState<readonly PresenceChange[]>([]);
  const add = useCallback((changes: readonly PresenceChange[]) => {
    if (changes.length === 0) return;
    setNewest((known) => [...changes.toReversed(), ...known].slice(0, shown));
  }, []);
  return { newest, add };
}

const shown = 12;
