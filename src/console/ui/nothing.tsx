import { EmptyState } from "@mantine/core";
import { IconInbox } from "@tabler/icons-react";
import type { ReactNode } from "react";

interface NothingProps {
  readonly title: string;
  /** What to do about it. */
  readonly children: ReactNode;
  readonly actions?: ReactNode;
}

/** Stands where a list would be that has nothing in it, and says what to do. */
export function Nothing({ title, children, actions }: NothingProps) {
  return (
    <EmptyState icon={<IconInbox aria-hidden />} title={title} description={children} py="xl">
      {actions !== undefined && <EmptyState.Actions>{actions}</EmptyState.Actions>}
    </EmptyState>
  );
}
