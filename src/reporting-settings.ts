import { decimal, textOr, url } from "./settings.ts";

/** The settings for what the service reports of itself to others. */
export const reportingSettings = {
  otlpEndpoint: {
    ...url(
      "OTLP_ENDPOINT",
      ["https:", "http:"],
      "Where traces go by OTLP over HTTP (`/v1/traces` below it), for example a collector of OpenTelemetry; the standard `OTEL_EXPORTER_OTLP_ENDPOINT` counts too. Without it nothing is traced.",
    ),
    standardName: "OTEL_EXPORTER_OTLP_ENDPOINT",
  },
  traceSharePercent: decimal(
    "TRACE_SHARE_PERCENT",
    "10",
    [0, 100],
    "Which share of the calls is traced, in percent; calls whose callers trace them always are.",
  ),
  sentryDsn: {
    ...url(
      "SENTRY_DSN",
      ["https:", "http:"],
      "Where errors that nobody foresaw are sent, as a DSN of Sentry or of what speaks its protocol; the standard `SENTRY_DSN` counts too. Without it none are sent.",
    ),
    standardName: "SENTRY_DSN",
  },
  sentryEnvironment: textOr("SENTRY_ENVIRONMENT", "production", "The environment that sent errors name."),
};
