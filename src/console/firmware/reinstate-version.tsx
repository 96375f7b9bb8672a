import { useMutation } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Recall } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";

/** Takes a recall back. */
export function ReinstateVersion({ recall }: { readonly recall: Recall }) {
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
        title={`Reinstate ${firmwareTitle(recall)}?`}
        consequences={[
          "It can be deployed and gone back to again.",
          "Its way out is aborted. Rollouts that the recall paused stay so until somebody resumes them.",
        ]}
        confirm="Reinstate it"
        doing="reinstate it"
        withReason
        act={async (reason) => {
          const { product, version } = recall;
          await reinstate.mutateAsync({ product, version, reason });
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
