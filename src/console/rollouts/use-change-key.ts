import { useEffect, useEffectEvent, useRef } from "react";

/** Calls `act` whenever the key is another than before, at most once in {@link leastMs}; not for the first one. */
export function useChangeKey(key: string, act: () => unknown): void {
  const seen = useRef(key);
  const changed = useEffectEvent(act);
  useEffect(() => {
    if (seen.current === key) return undefined;
    const timer = setTimeout(() => {
      seen.current = key;
      changed();
    }, leastMs);
    return () => clearTimeout(timer);
  }, [key]);
}

/** A busy rollout changes five times a second; lists beside it need not. */
const leastMs = 1_000;
