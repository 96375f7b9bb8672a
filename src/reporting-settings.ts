import { decimal, type Setting, SettingFault, setting, textOr, url } from "./settings.ts";

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
    ...dsn(
      "SENTRY_DSN",
      "Where errors that nobody foresaw are sent, as a DSN of Sentry or of what speaks its protocol; the standard `SENTRY_DSN` counts too. Without it none are sent.",
    ),
    standardName: "SENTRY_DSN",
  },
  sentryEnvironment: textOr("SENTRY_ENVIRONMENT", "production", "The environment that sent errors name."),
};

/** Where errors are sent to: what a DSN of Sentry says (https://develop.sentry.dev/sdk/foundations/transport/authentication/). */
interface ErrorReceiver {
  /** Where envelopes are posted. */
  readonly url: string;
  /** Says whose they are, and is no secret of Sentry's. */
  readonly key: string;
}

/** `https://key@host/project`, where the host may have a folder. */
function dsn(name: string, meaning: string): Setting<ErrorReceiver | undefined> {
  const parse = (value: string) => {
    if (value === "") return undefined;
    if (!isDsn.test(value) || !URL.canParse(value))
      throw new SettingFault("must be a DSN such as https://key@errors.example.com/7");
    const { origin, pathname, username: key } = new URL(value);
    const project = pathname.slice(pathname.lastIndexOf("/") + 1);
    return { url: new URL(`api/${project}/envelope/`, `${origin}${pathname}`).href, key };
  };
  return { ...setting(name, "", meaning, parse), secret: true };
}

/** A key alone or, as in old ones, a secret beside it, which nobody asks for any more. */
const isDsn = /^https?:\/\/[^:@/?#]+(?::[^@/?#]*)?@[^@/?#]+\/(?:[^?#]*\/)?\d+$/;
