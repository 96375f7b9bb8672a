import { useMemo, useState } from "react";
import type { Device } from "../../../../gen/ota/v1/device_pb.js";

/** Devices that were chosen one by one. */
export interface Selection {
  readonly size: number;
  readonly ids: readonly string[];
  readonly has: (id: string) => boolean;
  readonly holdsAll: (rows: readonly Device[] | undefined) => boolean;
  readonly toggle: (id: string) => void;
  /** Chooses all of these, or none if all were. */
  readonly toggleAll: (rows: readonly Device[] | undefined) => void;
  readonly clear: () => void;
}

/** The most devices that one bulk change takes by id. More are named by a filter. */
export const maxChosen = 1_000;

/** Keeps which devices are chosen, at most {@link maxChosen}. */
export function useSelection(): Selection {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  return useMemo(() => {
    const choosable = (rows: readonly Device[] | undefined) =>
      (rows ?? []).filter(({ retireTime }) => retireTime === undefined).slice(0, maxChosen);
    const holdsAll = (rows: readonly Device[] | undefined) => {
      const all = choosable(rows);
      return all.length > 0 && all.every(({ id }) => chosen.has(id));
    };
    return {
      size: chosen.size,
      ids: [...chosen],
      has: (id) => chosen.has(id),
      holdsAll,
      toggle: (id) => {
        const next = new Set(chosen);
        if (!next.delete(id) && next.size < maxChosen) next.add(id);
        setChosen(next);
      },
      toggleAll: (rows) => setChosen(new Set(holdsAll(rows) ? [] : choosable(rows).map(({ id }) => id))),
      clear: () => setChosen(new Set()),
    };
  }, [chosen]);
}
