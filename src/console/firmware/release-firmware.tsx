import { useMutation } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";

/** Releases a firmware without a deployment, so that devices can go back to it. */
export function ReleaseFirmware({ firmware }: { readonly firmware: Firmware }) {
  const [asking, setAsking] = useState(false);
  const queries = useQueryClient();
  const release = useMutation(FirmwareService.method.releaseFirmware);
  return (
    <>
      <Button variant="default" size="sm" onClick={() => setAsking(true)}>
        Release
      </Button>
      <Confirm
        opened={asking}
        title={`Release ${firmwareTitle(firmware)}?`}
        consequences={[
          "It can be deployed, and devices that came from it can go back to it. Nothing is offered by that alone.",
          "What a signature would cover cannot be changed any more.",
          "The service refuses while it requires more signatures than it has.",
        ]}
        confirm="Release it"
        doing="release it"
        act={async () => {
          await release.mutateAsync({ id: firmware.id });
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
