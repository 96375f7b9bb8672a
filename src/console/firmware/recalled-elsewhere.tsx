import { useQuery } from "@connectrpc/connect-query";
import { Group, Stack, Text } from "@mantine/core";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Section } from "../ui/section.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";
import { RecallWayOut } from "./recall-way-out.tsx";
import { ReinstateVersion } from "./reinstate-version.tsx";

/** The recalled versions that have no page, because the catalogue does not have them; nothing without any. */
export function RecalledElsewhere() {
  const { can } = useSession();
  const { listRecalls } = FirmwareService.method;
  const { data } = useQuery(listRecalls, { pageSize: 1_000 }, { enabled: can(listRecalls) });
  const recalls = (data?.recalls ?? []).filter(({ firmwareId }) => firmwareId === "");
  if (recalls.length === 0) return null;
  return (
    <Section title="Recalled, and not in the catalogue" description="No device may run these versions.">
      <Stack gap="sm">
        {recalls.map((recall) => (
          <Group key={recall.id} justify="space-between" gap="sm">
            <Text size="sm" component="div">
              <b>{firmwareTitle(recall)}</b>
              <RecallWayOut recall={recall} />
            </Text>
            {can(FirmwareService.method.reinstateFirmware) && <ReinstateVersion recall={recall} />}
          </Group>
        ))}
      </Stack>
    </Section>
  );
}
