import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, Select } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Firmware, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";
import { RecallReach } from "./recall-reach.tsx";

/** Lets no device run a firmware's version any more, once the operator has said what takes its place. */
export function RecallFirmware({ firmware }: { readonly firmware: Firmware }) {
  const [asking, setAsking] = useState(false);
  const [replacementId, setReplacementId] = useState<string | null>(null);
  const queries = useQueryClient();
  const recall = useMutation(FirmwareService.method.recallFirmware);
  return (
    <>
      <Button variant="default" size="sm" onClick={() => setAsking(true)}>
        Recall
      </Button>
      <Confirm
        opened={asking}
        title={`Recall ${firmwareTitle(firmware)}?`}
        consequences={[
          "No rollout, step or rollback brings it to a device any more, and rollouts that do are paused.",
          "Whoever runs it is offered the replacement, before all rollouts, also devices that turn up later.",
          "It can be reinstated.",
        ]}
        complete={replacementId !== null}
        danger
        confirm="Recall it"
        doing="recall it"
        withReason
        act={async (reason) => {
          await recall.mutateAsync({ id: firmware.id, replacementId: replacementId ?? "", reason });
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      >
        <Replacement firmware={firmware} value={replacementId} onChange={setReplacementId} />
        {replacementId !== null && <RecallReach firmwareId={firmware.id} replacementId={replacementId} />}
      </Confirm>
    </>
  );
}

interface ReplacementProps {
  readonly firmware: Firmware;
  /** The firmware's id; null while none is chosen. */
  readonly value: string | null;
  readonly onChange: (firmwareId: string | null) => void;
}

/** What devices are offered instead: a released version of the same that is not recalled itself. */
function Replacement({ firmware, value, onChange }: ReplacementProps) {
  const { id, product, component } = firmware;
  const { data } = useQuery(FirmwareService.method.listFirmware, {
    product,
    states: [FirmwareState.RELEASED],
    pageSize: 1_000,
  });
  const choices = (data?.firmware ?? []).filter(
    (each) => each.id !== id && each.component === component && each.recall === undefined,
  );
  return (
    <Select
      label="Replacement"
      description="Whoever runs the version is offered this one, newer or older."
      withAsterisk
      placeholder="Choose the version"
      nothingFoundMessage="No other version is released"
      data={choices.map((each) => ({ value: each.id, label: firmwareTitle(each) }))}
      value={value}
      onChange={onChange}
    />
  );
}
