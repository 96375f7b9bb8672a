import { writeSync } from "node:fs";
import {
  type DestinationStream,
  type Level,
  type Logger,
  type LoggerOptions as PinoOptions,
  pino,
} from "pino";
import { prettyFactory } from "pino-pretty";
import { LogOutput } from "./log-output.ts";

export type { Logger } from "pino";

/** How the service logs. */
export interface LoggerOptions {
  /** Lines below this level are dropped; `silent` drops all. */
  readonly level: Level | "silent";
  /** Coloured lines for a human at a terminal. Otherwise one JSON object a line, for collectors. */
  readonly pretty: boolean;
  /** Where lines go; standard output unless given. */
  readonly destination?: DestinationStream;
  /** Told of each error that is logged at `error`, and of those of background work, with the fields of their lines. */
  readonly onError?: (error: Error, fields: Readonly<Record<string, unknown>>) => void;
}

/**
 * Makes the service's root logger. Fields that name a secret are replaced by {@link REDACTED} wherever they stand on
 * the first three levels of a line; no code should rely on that and log a secret, it is the second net.
 */
export function createLogger(options: LoggerOptions): Logger {
  const settings = {
    level: options.level,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: redactedPaths(), censor: REDACTED },
    serializers: { err: pino.stdSerializers.errWithCause },
    // No process id and host name: the collector adds its own.
    base: null,
    ...(options.onError && { hooks: { logMethod: telling(options.onError) } }),
  };
  const destination = options.destination ?? new LogOutput((bytes) => writeSync(1, bytes));
  if (!options.pretty) return pino(settings, destination);
  const pretty = prettyFactory({ colorize: true, translateTime: "SYS:HH:MM:ss.l" });
  return pino(settings, { write: (line) => destination.write(pretty(line)) });
}

/** Pino's numbers of the levels. */
const [warnLevel, errorLevel] = [40, 50];

function telling(
  onError: NonNullable<LoggerOptions["onError"]>,
): NonNullable<NonNullable<PinoOptions["hooks"]>["logMethod"]> {
  return function log(args, method, level) {
    const [fields] = args as [unknown];
    if (level >= warnLevel && typeof fields === "object" && fields !== null) {
      const { err, work } = fields as { readonly err?: unknown; readonly work?: unknown };
      const counts = level >= errorLevel || work !== undefined;
      if (counts && err instanceof Error) onError(err, { ...this.bindings(), ...fields });
    }
    method.apply(this, args);
  };
}

/** What stands in a log line where a secret stood. */
export const REDACTED = "[redacted]";

const SECRET_FIELDS = [
  "authorization",
  "cookie",
  "password",
  "secret",
  "secretKey",
  "token",
  "adminToken",
  "accessToken",
  "credential",
  "enrolmentKey",
  "enrolment_key",
  "privateKey",
  "private_key",
];

/** Pino matches whole paths, so every field is listed for each depth at which requests and settings nest. */
function redactedPaths(): string[] {
  return SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
}
