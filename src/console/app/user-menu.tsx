import { Button, Menu, Text } from "@mantine/core";
import { IconApi, IconLogout, IconUser } from "@tabler/icons-react";
import { roleNames, useSession } from "../session/session.tsx";

/** Who is signed in, and the way out. */
export function UserMenu() {
  const { name, role, signOut } = useSession();
  return (
    <Menu position="bottom-end" withArrow>
      <Menu.Target>
        <Button
          variant="subtle"
          color="gray"
          size="compact-sm"
          leftSection={<IconUser size={16} stroke={1.6} aria-hidden />}
          aria-label={`Signed in as ${name}`}
        >
          <Text span inherit truncate maw={{ base: 90, sm: 220 }}>
            {name}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Role: {roleNames[role]}</Menu.Label>
        <Menu.Item component="a" href="/docs" leftSection={<IconApi size={16} stroke={1.6} />}>
          API reference
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={16} stroke={1.6} />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
