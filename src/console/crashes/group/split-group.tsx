import { useMutation } from "@connectrpc/connect-query";
import { Button, type ButtonSize } from "@mantine/core";
import { useState } from "react";
import type { ErrorGroup } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { Confirm } from "../../ui/confirm.tsx";
import { counted } from "../../ui/format.ts";
import { useReloadErrors } from "../use-reload-errors.ts";

interface SplitGroupProps {
  /** A group that is merged into another one. */
  readonly group: ErrorGroup;
  readonly size: ButtonSize;
}

/** Takes a group out of the one that it was merged into. */
export function SplitGroup({ group, size }: SplitGroupProps) {
  const [asking, setAsking] = useState(false);
  const reload = useReloadErrors();
  const split = useMutation(ErrorService.method.splitErrorGroup);
  const title = group.title || group.code;
  return (
    <>
      <Button
        size={size}
        variant="default"
        style={{ flex: "none" }}
        aria-label={`Split off ${title}`}
        onClick={() => setAsking(true)}
      >
        Split off…
      </Button>
      <Confirm
        opened={asking}
        title={`Split off ${title}?`}
        consequences={[
          `It becomes a group of its own again, with what it counted before and since: ${counted(group.occurrenceCount, "time")}.`,
          "The group that it is merged into no longer counts its errors.",
        ]}
        confirm="Split it off"
        doing="split it off"
        withReason
        act={async (reason) => {
          await split.mutateAsync({ id: group.id, reason });
          await reload();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
