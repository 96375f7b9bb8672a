import { ActionIcon } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { Confirm } from "./confirm.tsx";

/** A bin that removes one thing of a list, after a question with its consequences and a reason for the audit log. */
export function DeleteButton({
  what,
  consequences,
  act,
}: {
  /** For example `the rule Watchdog`. */
  readonly what: string;
  readonly consequences: readonly string[];
  readonly act: (reason: string) => Promise<void>;
}) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <ActionIcon variant="subtle" color="gray" aria-label={`Delete ${what}`} onClick={() => setAsking(true)}>
        <IconTrash size={16} aria-hidden />
      </ActionIcon>
      <Confirm
        opened={asking}
        title={`Delete ${what}?`}
        consequences={consequences}
        confirm="Delete it"
        doing="delete it"
        danger
        withReason
        act={act}
        close={() => setAsking(false)}
      />
    </>
  );
}
