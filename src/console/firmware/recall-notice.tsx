import { Alert, Stack, Text } from "@mantine/core";
import { IconBan } from "@tabler/icons-react";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { useSession } from "../session/session.tsx";
import { readableTitle } from "../ui/readable-title.ts";
import { Time } from "../ui/time.tsx";
import { RecallWayOut } from "./recall-way-out.tsx";
import { ReinstateVersion } from "./reinstate-version.tsx";

/** Says of a recalled firmware who recalled it, when and why, and where its devices go. */
export function RecallNotice({ firmware }: { readonly firmware: Firmware }) {
  const { can } = useSession();
  const { recall } = firmware;
  if (recall === undefined) return null;
  return (
    <Alert
      styles={readableTitle}
      variant="outline"
      color="red"
      icon={<IconBan aria-hidden />}
      title="No device may run this version"
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm" component="div">
          Recalled by {recall.actor}, <Time at={recall.recallTime} />
          <RecallWayOut recall={recall} />
        </Text>
        {can(FirmwareService.method.reinstateFirmware) && <ReinstateVersion recall={recall} />}
      </Stack>
    </Alert>
  );
}
