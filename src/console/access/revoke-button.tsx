import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Confirm } from "../ui/confirm.tsx";

interface RevokeButtonProps {
  /** Of what is revoked; it must be typed. */
  readonly name: string;
  /** "token", "signing key". */
  readonly what: string;
  readonly consequences: readonly string[];
  readonly revoke: (reason: string) => Promise<unknown>;
}

/** Takes a credential back, after its name was typed: there is no way to undo it. */
export function RevokeButton({ name, what, consequences, revoke }: RevokeButtonProps) {
  const [asking, setAsking] = useState(false);
  const queries = useQueryClient();
  return (
    <>
      <Button
        size="compact-xs"
        variant="default"
        onClick={() => setAsking(true)}
        aria-label={`Revoke ${name}`}
      >
        Revoke
      </Button>
      <Confirm
        opened={asking}
        title={`Revoke the ${what} ${name}?`}
        consequences={[...consequences, "It cannot be undone; a new one can be made."]}
        typed={name}
        confirm="Revoke it"
        doing="revoke it"
        withReason
        act={async (reason) => {
          await revoke(reason);
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
