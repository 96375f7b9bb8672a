import { Breadcrumbs, Group, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import classes from "./page.module.css";
import { titleTab } from "./tab-title.ts";

interface PageProps {
  readonly title: string;
  /** Beside the title: a state, a live sign. */
  readonly aside?: ReactNode;
  /** Where this page hangs, outermost first: links. */
  readonly trail?: readonly ReactNode[];
  readonly description?: ReactNode;
  /** Buttons. */
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

/** The frame of every page: its place, its name (of the tab too) and what can be done here. */
export function Page({ title, aside, trail = [], description, actions, children }: PageProps) {
  useEffect(() => titleTab(title), [title]);
  return (
    <Stack gap="lg" maw={1600} mx="auto">
      <Stack gap={4}>
        {trail.length > 0 && <Breadcrumbs fz="sm">{trail}</Breadcrumbs>}
        <Group justify="space-between" align="flex-start" gap="sm">
          <Group gap="md" align="center">
            <Title order={1} size="h2">
              {title}
            </Title>
            {aside}
          </Group>
          {actions !== undefined && <Group gap="xs">{actions}</Group>}
        </Group>
        {description !== undefined && (
          <Text c="dimmed" size="sm" maw={820} component="div" className={classes["description"] ?? ""}>
            {description}
          </Text>
        )}
      </Stack>
      {children}
    </Stack>
  );
}
