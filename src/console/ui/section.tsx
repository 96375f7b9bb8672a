import { Card, Group, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface SectionProps {
  readonly title: string;
  /** One line below the title. */
  readonly description?: ReactNode;
  readonly actions?: ReactNode;
  /** Without a margin around what is inside: for tables. */
  readonly flush?: boolean;
  readonly children: ReactNode;
}

/** A part of a page with a heading of its own. */
export function Section({ title, description, actions, flush = false, children }: SectionProps) {
  return (
    <Card withBorder padding="md" component="section" aria-label={title}>
      <Group justify="space-between" align="flex-start" mb={flush ? "sm" : "md"} gap="sm">
        <div>
          <Title order={2} size="h5">
            {title}
          </Title>
          {description !== undefined && (
            <Text c="dimmed" size="xs" component="div">
              {description}
            </Text>
          )}
        </div>
        {actions}
      </Group>
      {flush ? <Card.Section>{children}</Card.Section> : children}
    </Card>
  );
}
