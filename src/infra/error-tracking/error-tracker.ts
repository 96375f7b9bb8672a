import { OtaError } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import { asDatabaseError } from "../database/errors.ts";
import { envelopeOf } from "./sentry-event.ts";

/** Where errors are sent to. */
export interface ErrorTrackingSettings {
  /** Sentry, or whatever speaks its protocol. */
  readonly receiver: {
    /** Where envelopes are posted. */
    readonly url: string;
    /** Of the project there. */
    readonly key: string;
  };
  readonly environment: string;
}

/**
 * Sends errors that nobody foresaw to a receiver that speaks Sentry's protocol. It is spoken here, in one file, and not by Sentry's
 * SDK: that instruments the process, and brings 18 MB and half a second of start-up for one POST.
 *
 * Outages are none of these errors: metrics and alerts tell of them. Of errors from the same place one is sent a minute, and
 * {@link mostAMinute} of all; a receiver that is slow or away costs reports and nothing else.
 */
export class ErrorTracker implements AsyncDisposable {
  readonly #receiver: ErrorTrackingSettings["receiver"];
  readonly #environment: string;
  readonly #clock: Clock;
  readonly #sending = new Set<Promise<void>>();
  /** The places whose errors were sent in this minute. */
  readonly #sent = new Set<string>();
  #minuteEndsAtMs = Number.NEGATIVE_INFINITY;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor({ receiver, environment }: ErrorTrackingSettings, clock: Clock) {
    this.#receiver = receiver;
    this.#environment = environment;
    this.#clock = clock;
  }

  /** Sends an error, if it is one of these. `fields`: those of its line in the log, of which {@link tagNames} are sent. */
  report(error: Error, fields: Readonly<Record<string, unknown>>): void {
    if (isForeseen(error) || !this.#fits(placeOf(error))) return;
    const tags = Object.fromEntries(
      tagNames.flatMap((name) => (typeof fields[name] === "string" ? [[name, fields[name]]] : [])),
    );
    const body = envelopeOf(error, { environment: this.#environment, tags }, this.#clock.now());
    const sending = this.#send(body).finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
  }

  /** Waits for what is under way: some seconds at most. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sending);
  }

  #fits(place: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#pausedUntilMs) return false;
    if (nowMs >= this.#minuteEndsAtMs) {
      this.#sent.clear();
      this.#minuteEndsAtMs = nowMs + minuteMs;
    }
    if (this.#sent.size >= mostAMinute || this.#sent.has(place)) return false;
    this.#sent.add(place);
    return true;
  }

  /** Never rejects, and says nothing in the log: what is written there at this level would be reported in turn. */
  async #send(body: string): Promise<void> {
    const { url, key } = this.#receiver;
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/x-sentry-envelope",
          "x-sentry-auth": `Sentry sentry_version=7, sentry_client=device-ota/1, sentry_key=${key}`,
        },
        body,
        redirect: "error",
        signal: AbortSignal.timeout(sendTimeoutMs),
      });
      await answer.body?.cancel();
      if (answer.status === 429) this.#pause(Number(answer.headers.get("retry-after") ?? Number.NaN));
    } catch {
      this.#pause(Number.NaN);
    }
  }

  #pause(seconds: number): void {
    const ms = seconds > 0 ? Math.min(seconds * 1_000, maxPauseMs) : minuteMs;
    this.#pausedUntilMs = this.#clock.monotonicMs() + ms;
  }
}

/** What of a log line goes with an error. None of it is a person's or a device's. */
const tagNames = ["method", "door", "code", "reason", "requestId", "traceId", "work"] as const;

const mostAMinute = 20;

const minuteMs = 60_000;

const maxPauseMs = 3_600_000;

const sendTimeoutMs = 5_000;

function isForeseen(error: Error): boolean {
  if (asDatabaseError(error) !== undefined) return true;
  return error instanceof OtaError && error.code !== "internal" && error.code !== "data_loss";
}

/** Its class and its innermost line: equal for errors of one kind from one place. */
function placeOf(error: Error): string {
  const innermost = error.stack?.split("\n").find((line) => line.trimStart().startsWith("at "));
  return `${error.name} ${innermost ?? ""}`;
}
