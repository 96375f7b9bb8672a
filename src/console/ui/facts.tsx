import { DataList } from "@mantine/core";
import type { ReactNode } from "react";

/** Names and values, one a line; a fact whose value is undefined is left out. */
export function Facts({ facts }: { readonly facts: readonly (readonly [name: string, value: ReactNode])[] }) {
  return (
    <DataList gap={6} labelWidth="150px">
      {facts
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => (
          <DataList.Item key={name} style={{ alignItems: "flex-start" }}>
            <DataList.ItemLabel>{name}</DataList.ItemLabel>
            <DataList.ItemValue style={{ overflowWrap: "anywhere", minWidth: 0 }}>{value}</DataList.ItemValue>
          </DataList.Item>
        ))}
    </DataList>
  );
}
