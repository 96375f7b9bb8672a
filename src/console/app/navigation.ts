import {
  IconBug,
  IconCpu,
  IconDevices,
  IconHistory,
  IconKey,
  IconLayoutDashboard,
  IconRocket,
  IconSettings,
} from "@tabler/icons-react";
import type { ComponentType } from "react";

/** One entry of the main navigation. */
export interface NavigationEntry {
  readonly to: "/" | "/devices" | "/firmware" | "/rollouts" | "/crashes" | "/audit" | "/access" | "/settings";
  readonly label: string;
  readonly icon: ComponentType<{ readonly size?: number; readonly stroke?: number }>;
}

/** The main navigation, in order. Everyone may read; what only some may do is decided on the pages. */
export const navigation: readonly NavigationEntry[] = [
  { to: "/", label: "Overview", icon: IconLayoutDashboard },
  { to: "/devices", label: "Devices", icon: IconDevices },
  { to: "/rollouts", label: "Rollouts", icon: IconRocket },
  { to: "/firmware", label: "Firmware", icon: IconCpu },
  { to: "/crashes", label: "Crashes", icon: IconBug },
  { to: "/audit", label: "Audit", icon: IconHistory },
  { to: "/access", label: "Access", icon: IconKey },
  { to: "/settings", label: "Settings", icon: IconSettings },
];
