import { useMutation } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";

/** Takes a firmware out of the catalogue, after the operator typed its version. */
export function DeleteFirmware({ firmware }: { readonly firmware: Firmware }) {
  const [asking, setAsking] = useState(false);
  const queries = useQueryClient();
  const navigate = useNavigate();
  const remove = useMutation(FirmwareService.method.deleteFirmware);
  return (
    <>
      <Button variant="default" size="sm" onClick={() => setAsking(true)}>
        Delete
      </Button>
      <Confirm
        opened={asking}
        title={`Delete ${firmwareTitle(firmware)}?`}
        consequences={[
          "It disappears from the catalogue and cannot be deployed any more.",
          "Devices that run it keep it. Its record stays for history.",
          "The service refuses while a rollout that is not over has it.",
        ]}
        typed={firmware.version}
        confirm="Delete it"
        doing="delete it"
        act={async () => {
          await remove.mutateAsync({ id: firmware.id });
          await queries.invalidateQueries();
          await navigate({ to: "/firmware" });
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
