import { decimal, flag, integer, type ValuesOf } from "./settings.ts";

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
    "How long what happened once, such as a rollback, a new crash or a dead letter, is an alert, in hours.",
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
  alertWebhookMinutes: decimal(
    "ALERT_WEBHOOK_MINUTES",
    "15",
    [0, 525_600],
    "A webhook is an alert when a delivery has been tried in vain for so many minutes.",
  ),
  alertExpiryDays: integer(
    "ALERT_EXPIRY_DAYS",
    14,
    [1, 3_650],
    "Certificates, tokens, enrolment keys, signing keys and TUF metadata are an alert for so many days before they end.",
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
  webhookAllowPrivate: flag(
    "WEBHOOK_ALLOW_PRIVATE",
    false,
    "Whether webhooks may be posted to private and local addresses, and in clear (`http`).",
  ),
  webhookMax: integer("WEBHOOK_MAX", 50, [1, 1_000], "The most webhooks."),
  webhookConcurrency: integer(
    "WEBHOOK_CONCURRENCY",
    16,
    [1, 1_000],
    "The most deliveries under way at once, per replica; of one webhook a quarter of them.",
  ),
  webhookTimeoutSeconds: integer(
    "WEBHOOK_TIMEOUT_SECONDS",
    10,
    [1, 60],
    "How long a receiver may take to answer, in seconds.",
  ),
  webhookRetrySeconds: decimal(
    "WEBHOOK_RETRY_SECONDS",
    "5",
    [0.01, 3_600],
    "The wait before the second try of a delivery, in seconds; each further one is twice as long, up to an hour.",
  ),
  webhookGiveUpHours: decimal(
    "WEBHOOK_GIVE_UP_HOURS",
    "72",
    [0.0001, 8_760],
    "A delivery that no try has brought through for so many hours is a dead letter.",
  ),
};

/** Their values. */
type AlertValues = ValuesOf<typeof alertSettings>;

/** The settings as those who watch take them. */
export function alertsOf(values: AlertValues) {
  return {
    maxPerRule: values.alertMaxPerRule,
    newsMs: values.alertNewsHours * 3_600_000,
    failurePercent: values.alertFailurePercent,
    offlinePercent: values.alertOfflinePercent,
    undeliveredMs: values.alertWebhookMinutes * 60_000,
    expiryMs: values.alertExpiryDays * dayMs,
    resolveMs: values.alertResolveSeconds * 1_000,
    retentionMs: values.eventRetentionDays * dayMs,
  };
}

/** How webhooks are delivered. */
export function webhooksOf(values: AlertValues) {
  return {
    allowPrivate: values.webhookAllowPrivate,
    max: values.webhookMax,
    concurrency: values.webhookConcurrency,
    timeoutMs: values.webhookTimeoutSeconds * 1_000,
    retryMs: values.webhookRetrySeconds * 1_000,
    giveUpMs: values.webhookGiveUpHours * 3_600_000,
  };
}

const dayMs = 24 * 3_600_000;
