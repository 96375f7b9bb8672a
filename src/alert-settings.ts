import { decimal, integer, type Setting } from "./settings.ts";

/** The settings of alerts and of the feed of events. */
export const alertSettings = {
  alertMaxPerRule: integer(
    "ALERT_MAX_PER_RULE",
    100,
    [1, 10_000],
    "The most alerts of one rule that fire at once; the oldest conditions come first.",
  ),
  alertNewsHours: decimal(
    "ALERT_NEWS_HOURS",
    "24",
    [0.001, 8_760],
    "How long what happened once, such as a rollback or a new crash, is an alert, in hours.",
  ),
  alertFailurePercent: decimal(
    "ALERT_FAILURE_PERCENT",
    "5",
    [0, 100],
    "A running rollout is an alert when more than this percentage of the devices that began to install failed.",
  ),
  alertOfflinePercent: decimal(
    "ALERT_OFFLINE_PERCENT",
    "20",
    [0, 100],
    "The fleet is an alert when more than this percentage of the devices that were ever heard are offline; 100: never.",
  ),
  alertExpiryDays: integer(
    "ALERT_EXPIRY_DAYS",
    14,
    [1, 3_650],
    "Certificates, tokens and enrolment keys are an alert for so many days before they end.",
  ),
  alertResolveSeconds: integer(
    "ALERT_RESOLVE_SECONDS",
    60,
    [0, 86_400],
    "How long what an alert is about must be over before the alert is resolved, in seconds.",
  ),
  eventRetentionDays: integer(
    "EVENT_RETENTION_DAYS",
    30,
    [1, 3_650],
    "How long events and resolved alerts are kept, in days.",
  ),
};

/** Their values. */
type AlertValues = {
  [K in keyof typeof alertSettings]: (typeof alertSettings)[K] extends Setting<infer T> ? T : never;
};

/** The settings as those who watch take them. */
export function alertsOf(values: AlertValues) {
  return {
    maxPerRule: values.alertMaxPerRule,
    newsMs: values.alertNewsHours * 3_600_000,
    failurePercent: values.alertFailurePercent,
    offlinePercent: values.alertOfflinePercent,
    expiryMs: values.alertExpiryDays * dayMs,
    resolveMs: values.alertResolveSeconds * 1_000,
    retentionMs: values.eventRetentionDays * dayMs,
  };
}

const dayMs = 24 * 3_600_000;
