import { useMutation } from "@connectrpc/connect-query";
import { Alert, Button, Stack, Text } from "@mantine/core";
import { IconBan } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Role } from "../../../gen/ota/v1/access_pb.js";
import type { Firmware, Recall } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Confirm } from "../ui/confirm.tsx";
import { counted } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { readableTitle } from "../ui/readable-title.ts";
import { Time } from "../ui/time.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";

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
          {recall.reason !== "" && `: ${recall.reason}`}. Whoever runs it is offered{" "}
          <Link to="/firmware/$firmwareId" params={{ firmwareId: recall.replacementId }}>
            {recall.replacementVersion}
          </Link>{" "}
          by{" "}
          <Link to="/rollouts/$rolloutId" params={{ rolloutId: recall.rolloutId }}>
            its way out
          </Link>
          . {runningWords(recall)}
        </Text>
        {can(Role.OPERATOR) && <ReinstateFirmware firmware={firmware} />}
      </Stack>
    </Alert>
  );
}

function runningWords({ runningCount }: Recall): string {
  if (runningCount === undefined) return "How many run it still is being counted.";
  return `${counted(runningCount, "device")} still ${runningCount === 1n ? "runs" : "run"} it.`;
}

/** Takes the recall back. */
function ReinstateFirmware({ firmware }: { readonly firmware: Firmware }) {
  const [asking, setAsking] = useState(false);
  const queries = useQueryClient();
  const reinstate = useMutation(FirmwareService.method.reinstateFirmware);
  return (
    <>
      <Button variant="default" size="xs" onClick={() => setAsking(true)}>
        Reinstate
      </Button>
      <Confirm
        opened={asking}
        title={`Reinstate ${firmwareTitle(firmware)}?`}
        consequences={[
          "It can be deployed and gone back to again.",
          "Its way out is aborted. Rollouts that the recall paused stay so until somebody resumes them.",
        ]}
        confirm="Reinstate it"
        doing="reinstate it"
        withReason
        act={async (reason) => {
          await reinstate.mutateAsync({ id: firmware.id, reason });
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
