import {
  IconAlertTriangle,
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
  readonly to:
    | "/"
    | "/alerts"
    | "/devices"
    | "/firmware"
    | "/rollouts"
    | "/crashes"
    | "/audit"
    | "/access"
    | "/settings";
  readonly label: string;
  readonly icon: ComponentType<{ readonly size?: number; readonly stroke?: number }>;
  /** Whether there is something for a token that is limited. The contract says it of the page's methods, which are no part of the first load. */
  readonly forLimited: boolean;
}

/** The main navigation, in order. What only some may do is decided on the pages. */
export const navigation: readonly NavigationEntry[] = [
  { to: "/", label: "Overview", icon: IconLayoutDashboard, forLimited: false },
  { to: "/alerts", label: "Alerts", icon: IconAlertTriangle, forLimited: false },
  { to: "/devices", label: "Devices", icon: IconDevices, forLimited: true },
  { to: "/rollouts", label: "Rollouts", icon: IconRocket, forLimited: true },
  { to: "/firmware", label: "Firmware", icon: IconCpu, forLimited: true },
  { to: "/crashes", label: "Crashes", icon: IconBug, forLimited: false },
  { to: "/audit", label: "Audit", icon: IconHistory, forLimited: false },
  { to: "/access", label: "Access", icon: IconKey, forLimited: true },
  { to: "/settings", label: "Settings", icon: IconSettings, forLimited: false },
];
