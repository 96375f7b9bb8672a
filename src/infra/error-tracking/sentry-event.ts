import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";
import { packageFolder } from "../../package-folder.ts";

/** What is known of an error beside itself. */
export interface ErrorFacts {
  readonly environment: string;
  readonly tags: Readonly<Record<string, string>>;
}

/**
 * An error as the envelope that is posted (https://develop.sentry.dev/sdk/foundations/transport/envelopes/): its class, where in
 * the code it came from, and its words without what stands in them of devices and callers; see {@link wordsOf}.
 */
export function envelopeOf(error: Error, { environment, tags }: ErrorFacts, at: Date): string {
  const id = randomUUID().replaceAll("-", "");
  const event = {
    event_id: id,
    timestamp: at.getTime() / 1_000,
    platform: "node",
    level: "error",
    logger: "device-ota",
    environment,
    tags,
    exception: {
      values: chainOf(error).map((each) => ({
        type: each.name,
        value: wordsOf(each),
        stacktrace: { frames: framesOf(each) },
      })),
    },
  };
  return [{ event_id: id, sent_at: at.toISOString() }, { type: "event" }, event]
    .map((line) => `${JSON.stringify(line)}\n`)
    .join("");
}

/**
 * An error's words without values: libraries and PostgreSQL quote what they cannot use, which may be what a device sent. Numbers and
 * ids go too, so that equal errors have equal words.
 */
export function wordsOf(error: Error): string {
  const code = (error as { readonly code?: unknown }).code;
  const words = error.message
    .slice(0, maxWordsLength * 4)
    .replaceAll(/"[^"]*(?:"|$)|'[^']*(?:'|$)|`[^`]*(?:`|$)/gs, "…")
    .replaceAll(/\S+/g, (word) => (/\d/.test(word) ? "…" : word))
    .slice(0, maxWordsLength);
  return typeof code === "string" && /^[\w-]{1,40}$/.test(code) ? `${code}: ${words}` : words;
}

const maxWordsLength = 200;

/** The error and its causes, the first cause first, as Sentry wants them. */
function chainOf(error: Error): Error[] {
  const chain: Error[] = [];
  for (let each: unknown = error; each instanceof Error && chain.length < maxCauses; each = each.cause)
    chain.unshift(each);
  return chain;
}

const maxCauses = 5;

interface Frame {
  readonly function: string;
  readonly filename: string;
  readonly lineno: number;
  readonly colno: number;
  readonly in_app: boolean;
}

/** The stack by V8, the innermost frame last. Files are named from the service's folder: where it is installed is nobody's business. */
function framesOf({ stack = "" }: Error): Frame[] {
  const frames: Frame[] = [];
  for (const line of stack.split("\n").slice(0, maxFrames + 1)) {
    const match = /^\s*at (?:(?<name>.+?) \()?(?<file>[^()\s]+):(?<line>\d+):(?<column>\d+)\)?$/.exec(
      line,
    )?.groups;
    if (match === undefined) continue;
    const filename = (match["file"] ?? "").replace(home.url, "").replace(home.path, "");
    frames.unshift({
      function: match["name"] ?? "?",
      filename,
      lineno: Number(match["line"]),
      colno: Number(match["column"]),
      in_app: !filename.startsWith("node"),
    });
  }
  return frames;
}

const maxFrames = 50;

const home = { path: `${packageFolder}/`, url: `${pathToFileURL(packageFolder).href}/` };
