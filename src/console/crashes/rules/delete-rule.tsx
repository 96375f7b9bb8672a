import { useMutation } from "@connectrpc/connect-query";
import { ActionIcon } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import type { GroupingRule } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { Confirm } from "../../ui/confirm.tsx";
import { useReloadErrors } from "../use-reload-errors.ts";

/** Removes a rule, after a question. */
export function DeleteRule({ rule: { id, title } }: { readonly rule: GroupingRule }) {
  const [asking, setAsking] = useState(false);
  const reload = useReloadErrors();
  const remove = useMutation(ErrorService.method.deleteGroupingRule);
  return (
    <>
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={`Delete the rule ${title}`}
        onClick={() => setAsking(true)}
      >
        <IconTrash size={16} aria-hidden />
      </ActionIcon>
      <Confirm
        opened={asking}
        title={`Delete the rule ${title}?`}
        consequences={[
          "Errors that come from now on are grouped without it.",
          "The group that it made stays, with what it counted.",
        ]}
        confirm="Delete it"
        doing="delete it"
        danger
        withReason
        act={async (reason) => {
          await remove.mutateAsync({ id, reason });
          await reload();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
