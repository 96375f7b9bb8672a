import "@mantine/core/styles/Radio.css";
import { useMutation } from "@connectrpc/connect-query";
import { Button, Group, Radio, Stack, Text } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import type { ErrorGroup } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { Confirm } from "../../ui/confirm.tsx";
import { counted } from "../../ui/format.ts";
import { useReloadErrors } from "../use-reload-errors.ts";
import { type ChosenGroups, mostChosen } from "./use-chosen-groups.ts";

/** What can be done with the groups that are chosen: make them one. */
export function MergeBar({ chosen }: { readonly chosen: ChosenGroups }) {
  const { groups } = chosen;
  const [asking, setAsking] = useState(false);
  const [wholeId, setWholeId] = useState<string | undefined>();
  const navigate = useNavigate();
  const reload = useReloadErrors();
  const merge = useMutation(ErrorService.method.mergeErrorGroups);
  const whole = groups.find(({ id }) => id === wholeId) ?? mostFrequent(groups);
  return (
    <Group gap="xs" mih={30}>
      <Text size="sm" role="status" c={groups.length === 0 ? "dimmed" : "bright"}>
        {words(groups.length)}
      </Text>
      {groups.length > 1 && (
        <Button size="xs" onClick={() => setAsking(true)}>
          Merge…
        </Button>
      )}
      {groups.length > 0 && (
        <Button size="xs" variant="default" onClick={chosen.clear}>
          Choose none
        </Button>
      )}
      {whole !== undefined && (
        <Confirm
          opened={asking}
          title={`Merge ${counted(groups.length, "group")}?`}
          consequences={[
            "What they counted is added up, and further errors of any of them count there.",
            "Lists show the one below only.",
            "Each can be split off again, with all that it counted before and since.",
          ]}
          confirm="Merge them"
          doing="merge them"
          withReason
          act={async (reason) => {
            const mergedIds = groups.filter((group) => group !== whole).map(({ id }) => id);
            await merge.mutateAsync({ id: whole.id, mergedIds, reason });
            await reload();
            chosen.clear();
            await navigate({ to: "/crashes/$groupId", params: { groupId: whole.id } });
          }}
          close={() => setAsking(false)}
        >
          <Radio.Group label="Which stands for all" value={whole.id} onChange={setWholeId}>
            <Stack gap={6} mt={6}>
              {groups.map(({ id, title, code, occurrenceCount }) => (
                <Radio
                  key={id}
                  value={id}
                  size="xs"
                  label={title || code}
                  description={`${code} · ${counted(occurrenceCount, "time")}`}
                  styles={{ label: { overflowWrap: "anywhere" } }}
                />
              ))}
            </Stack>
          </Radio.Group>
        </Confirm>
      )}
    </Group>
  );
}

function words(chosen: number): string {
  if (chosen === 0) return "Choose groups with the same cause to merge them.";
  const most = chosen === mostChosen ? "; no more can be merged at once" : "";
  return `${counted(chosen, "group")} chosen${most}`;
}

function mostFrequent(groups: readonly ErrorGroup[]): ErrorGroup | undefined {
  return groups.toSorted((a, b) => Number(b.occurrenceCount - a.occurrenceCount))[0];
}
