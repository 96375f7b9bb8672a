import { useMutation } from "@connectrpc/connect-query";
import { Textarea } from "@mantine/core";
import { useState } from "react";
import type { Alert } from "../../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../../gen/ota/v1/alert_service_pb.js";
import { useReload } from "../data/use-reload.ts";
import { Confirm } from "../ui/confirm.tsx";
import { alertTitle } from "../words/alert-words.ts";

/** Notes that whoever is signed in has taken note of an alert, with what is being done. */
export function AcknowledgeDialog({ alert, close }: { readonly alert: Alert; readonly close: () => void }) {
  const [note, setNote] = useState("");
  const acknowledge = useMutation(AlertService.method.acknowledgeAlert);
  const reload = useReload(AlertService.method.listAlerts);
  return (
    <Confirm
      opened
      title={`Acknowledge "${alertTitle(alert)}"?`}
      consequences={[
        "Your name and the note stand with it for everybody, and it is counted no more.",
        "It goes on until what it is about is over.",
      ]}
      confirm="Acknowledge"
      doing="acknowledge it"
      act={async () => {
        await acknowledge.mutateAsync({ id: alert.id, note: note.trim() });
        await reload();
      }}
      close={close}
    >
      <Textarea
        label="Note"
        description="What is being done about it; may be left empty."
        maxLength={500}
        autosize
        minRows={2}
        data-autofocus
        value={note}
        onChange={({ currentTarget }) => setNote(currentTarget.value)}
      />
    </Confirm>
  );
}
