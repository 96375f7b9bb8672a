import { useMemo, useState } from "react";
import type { ErrorGroup } from "../../../../gen/ota/v1/error_group_pb.js";

/** Error groups that were chosen one by one, also on pages and under filters that are no longer shown. */
export interface ChosenGroups {
  readonly groups: readonly ErrorGroup[];
  readonly has: (id: string) => boolean;
  readonly toggle: (group: ErrorGroup) => void;
  readonly clear: () => void;
}

/** Keeps which groups are chosen, at most {@link mostChosen}. */
export function useChosenGroups(): ChosenGroups {
  const [chosen, setChosen] = useState<ReadonlyMap<string, ErrorGroup>>(new Map());
  return useMemo(
    () => ({
      groups: [...chosen.values()],
      has: (id) => chosen.has(id),
      toggle: (group) => {
        const next = new Map(chosen);
        if (!next.delete(group.id) && next.size < mostChosen) next.set(group.id, group);
        setChosen(next);
      },
      clear: () => setChosen(new Map()),
    }),
    [chosen],
  );
}

/** One that stands for all, and what `MergeErrorGroupsRequest.merged_ids` takes. */
export const mostChosen = 51;
