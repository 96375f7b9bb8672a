import { Alert, Text } from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";
import { createContext, type ReactNode, useContext, useMemo, useState } from "react";
import type { VerbEffect } from "../../../gen/ota/v1/rollout_pb.js";

interface Outcome {
  readonly effect: VerbEffect | undefined;
  readonly tell: (effect: VerbEffect | undefined) => void;
}

const OutcomeContext = createContext<Outcome>({ effect: undefined, tell: () => undefined });

/** Keeps what the last verb on a page changed. */
export function VerbOutcomes({ children }: { readonly children: ReactNode }) {
  const [effect, tell] = useState<VerbEffect | undefined>();
  const outcome = useMemo(() => ({ effect, tell }), [effect]);
  return <OutcomeContext value={outcome}>{children}</OutcomeContext>;
}

/** Tells the page what a verb changed. */
export function useTellOutcome(): Outcome["tell"] {
  return useContext(OutcomeContext).tell;
}

/** What the last verb changed, in the service's words, until it is closed. */
export function VerbOutcome() {
  const { effect, tell } = useContext(OutcomeContext);
  if (effect === undefined) return null;
  return (
    <Alert
      role="status"
      variant="outline"
      color={effect.unchanged || effect.blockedCount > 0n ? "yellow" : "indigo"}
      icon={<IconInfoCircle aria-hidden />}
      withCloseButton
      closeButtonLabel="Close the note"
      onClose={() => tell(undefined)}
    >
      <Text size="sm">{effect.message}</Text>
    </Alert>
  );
}
