import { useMutation } from "@connectrpc/connect-query";
import type { GroupingRule } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { DeleteButton } from "../../ui/delete-button.tsx";
import { useReloadErrors } from "../use-reload-errors.ts";

/** Removes a rule, after a question. */
export function DeleteRule({ rule: { id, title } }: { readonly rule: GroupingRule }) {
  const reload = useReloadErrors();
  const remove = useMutation(ErrorService.method.deleteGroupingRule);
  return (
    <DeleteButton
      what={`the rule ${title}`}
      consequences={[
        "Errors that come from now on are grouped without it.",
        "The group that it made stays, with what it counted.",
      ]}
      act={async (reason) => {
        await remove.mutateAsync({ id, reason });
        await reload();
      }}
    />
  );
}
