import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { accessSearch } from "../addresses/access-search.ts";
import { alertSearch } from "../addresses/alert-search.ts";
import { auditSearch } from "../addresses/audit-search.ts";
import { crashListSearch, groupingRulesSearch } from "../addresses/crash-search.ts";
import { deviceListSearch, deviceSearch, mapSearch } from "../addresses/device-search.ts";
import { compareSearch, firmwareListSearch } from "../addresses/firmware-search.ts";
import { overviewSearch } from "../addresses/overview-search.ts";
import { rolloutListSearch, rolloutNewSearch, rolloutSearch } from "../addresses/rollout-search.ts";
import { webhookSearch } from "../addresses/webhook-search.ts";
import { BrokenPage } from "./broken-page.tsx";
import { NotFoundPage } from "./not-found-page.tsx";
import { Shell } from "./shell.tsx";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: NotFoundPage,
});

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: overviewSearch,
  component: lazyRouteComponent(() => import("../overview/overview-page.tsx"), "OverviewPage"),
});

const deviceList = createRoute({
  getParentRoute: () => root,
  path: "/devices",
  validateSearch: deviceListSearch,
  component: lazyRouteComponent(() => import("../devices/device-list-page.tsx"), "DeviceListPage"),
});

const deviceMap = createRoute({
  getParentRoute: () => root,
  path: "/devices/map",
  validateSearch: mapSearch,
  component: lazyRouteComponent(() => import("../map/map-page.tsx"), "MapPage"),
});

const device = createRoute({
  getParentRoute: () => root,
  path: "/devices/$deviceId",
  validateSearch: deviceSearch,
  component: lazyRouteComponent(() => import("../devices/device-page.tsx"), "DevicePage"),
});

const firmwareList = createRoute({
  getParentRoute: () => root,
  path: "/firmware",
  validateSearch: firmwareListSearch,
  component: lazyRouteComponent(() => import("../firmware/firmware-list-page.tsx"), "FirmwareListPage"),
});

const firmwareNew = createRoute({
  getParentRoute: () => root,
  path: "/firmware/new",
  component: lazyRouteComponent(() => import("../firmware/firmware-new-page.tsx"), "FirmwareNewPage"),
});

const firmwareCompare = createRoute({
  getParentRoute: () => root,
  path: "/firmware/compare",
  validateSearch: compareSearch,
  component: lazyRouteComponent(() => import("../firmware/firmware-compare-page.tsx"), "FirmwareComparePage"),
});

const firmware = createRoute({
  getParentRoute: () => root,
  path: "/firmware/$firmwareId",
  component: lazyRouteComponent(() => import("../firmware/firmware-page.tsx"), "FirmwarePage"),
});

const rolloutList = createRoute({
  getParentRoute: () => root,
  path: "/rollouts",
  validateSearch: rolloutListSearch,
  component: lazyRouteComponent(() => import("../rollouts/rollout-list-page.tsx"), "RolloutListPage"),
});

const rolloutNew = createRoute({
  getParentRoute: () => root,
  path: "/rollouts/new",
  validateSearch: rolloutNewSearch,
  component: lazyRouteComponent(() => import("../rollouts/rollout-new-page.tsx"), "RolloutNewPage"),
});

const rollout = createRoute({
  getParentRoute: () => root,
  path: "/rollouts/$rolloutId",
  validateSearch: rolloutSearch,
  component: lazyRouteComponent(() => import("../rollouts/rollout-page.tsx"), "RolloutPage"),
});

const crashList = createRoute({
  getParentRoute: () => root,
  path: "/crashes",
  validateSearch: crashListSearch,
  component: lazyRouteComponent(() => import("../crashes/crash-list-page.tsx"), "CrashListPage"),
});

const crash = createRoute({
  getParentRoute: () => root,
  path: "/crashes/$groupId",
  component: lazyRouteComponent(() => import("../crashes/crash-page.tsx"), "CrashPage"),
});

const groupingRules = createRoute({
  getParentRoute: () => root,
  path: "/crashes/rules",
  validateSearch: groupingRulesSearch,
  component: lazyRouteComponent(
    () => import("../crashes/rules/grouping-rules-page.tsx"),
    "GroupingRulesPage",
  ),
});

const symbolFiles = createRoute({
  getParentRoute: () => root,
  path: "/crashes/symbols",
  component: lazyRouteComponent(() => import("../crashes/symbols/symbol-files-page.tsx"), "SymbolFilesPage"),
});

const alerts = createRoute({
  getParentRoute: () => root,
  path: "/alerts",
  validateSearch: alertSearch,
  component: lazyRouteComponent(() => import("../alerts/alerts-page.tsx"), "AlertsPage"),
});

const webhooks = createRoute({
  getParentRoute: () => root,
  path: "/alerts/webhooks",
  component: lazyRouteComponent(() => import("../webhooks/webhooks-page.tsx"), "WebhooksPage"),
});

const webhook = createRoute({
  getParentRoute: () => root,
  path: "/alerts/webhooks/$webhookId",
  validateSearch: webhookSearch,
  component: lazyRouteComponent(() => import("../webhooks/webhook-page.tsx"), "WebhookPage"),
});

const audit = createRoute({
  getParentRoute: () => root,
  path: "/audit",
  validateSearch: auditSearch,
  component: lazyRouteComponent(() => import("../audit/audit-page.tsx"), "AuditPage"),
});

const access = createRoute({
  getParentRoute: () => root,
  path: "/access",
  validateSearch: accessSearch,
  component: lazyRouteComponent(() => import("../access/access-page.tsx"), "AccessPage"),
});

const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings",
  component: lazyRouteComponent(() => import("../settings/settings-page.tsx"), "SettingsPage"),
});

const routes = root.addChildren([
  overview,
  deviceList,
  deviceMap,
  device,
  firmwareList,
  firmwareNew,
  firmwareCompare,
  firmware,
  rolloutList,
  rolloutNew,
  rollout,
  crashList,
  crash,
  groupingRules,
  symbolFiles,
  alerts,
  webhooks,
  webhook,
  audit,
  access,
  settings,
]);

/** The addresses of the console. Each page is a chunk of its own; its search parameters hold all of its state. */
export function createAppRouter() {
  return createRouter({
    routeTree: routes,
    defaultPreload: "intent",
    defaultErrorComponent: BrokenPage,
    scrollRestoration: true,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
