import { AppShell, Box, Burger, Group, NavLink, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { createLink, Outlet, useRouterState } from "@tanstack/react-router";
import { type ComponentPropsWithRef, lazy, Suspense, useEffect } from "react";
import { useSession } from "../session/session.tsx";
import { BrandMark } from "../ui/brand-mark.tsx";
import { navigation } from "./navigation.ts";
import { SchemeMenu } from "./scheme-menu.tsx";
import { UserMenu } from "./user-menu.tsx";

/** Not part of the first load: what it shows is asked for once the page is there. */
const AttentionBadge = lazy(async () => ({
  default: (await import("../attention/attention-badge.tsx")).AttentionBadge,
}));

/** The frame around every page: navigation, who works here, light or dark. */
export function Shell() {
  const [opened, { toggle, close }] = useDisclosure(false);
  const path = useRouterState({ select: ({ location }) => location.pathname });
  useEffect(close, [path, close]);
  return (
    <AppShell
      header={{ height: 48 }}
      navbar={{ width: 208, breakpoint: "sm", collapsed: { mobile: !opened } }}
      padding={{ base: "sm", sm: "lg" }}
    >
      <a className="skip-link" href="#main">
        Skip to the content
      </a>
      <AppShell.Header px="md">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger
              opened={opened}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={opened ? "Close the navigation" : "Open the navigation"}
              aria-expanded={opened}
            />
            <BrandMark size={24} />
            <Text fw={600} style={{ whiteSpace: "nowrap" }} visibleFrom="xs">
              Device OTA
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Suspense>
              <AttentionBadge />
            </Suspense>
            <SchemeMenu />
            <UserMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" component="nav" aria-label="Main">
        <Navigation path={path} />
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: "none" }}>
        <Outlet />
      </AppShell.Main>
    </AppShell>
  );
}

function Navigation({ path }: { readonly path: string }) {
  const { isLimited } = useSession();
  const entries = navigation.filter(({ forLimited }) => forLimited || !isLimited);
  return (
    <Box component="ul" m={0} p={0} style={{ listStyle: "none" }}>
      {entries.map(({ to, label, icon: Icon }) => {
        const active = to === "/" ? path === "/" : path === to || path.startsWith(`${to}/`);
        return (
          <li key={to}>
            <RouterNavLink
              to={to}
              label={label}
              active={active}
              aria-current={active ? "page" : undefined}
              leftSection={<Icon size={18} stroke={1.6} />}
            />
          </li>
        );
      })}
    </Box>
  );
}

const RouterNavLink = createLink((props: ComponentPropsWithRef<typeof NavLink<"a">>) => (
  <NavLink component="a" style={{ borderRadius: 4 }} {...props} />
));
