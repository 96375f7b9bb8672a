import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const src = join(import.meta.dirname, "../..");

/** The only files of the service that set timers, and why they do it themselves. */
const timers: Readonly<Record<string, string>> = {
  "infra/alarm.ts": "the kit: waits that a signal or a bell ends",
  "infra/background/round.ts": "the kit: rounds, and the batched writers on them",
  "infra/time-limit.ts": "the kit: limits of waits",
  "infra/objects/idle-limit.ts": "the idle limit of one source of chunks, set back by each of them",
  "infra/postgres/orphan.ts": "polls a child process that says nothing; a signal ends it",
  "infra/postgres/postmaster.ts": "polls a child process that says nothing; a signal ends it",
  "api/grpc/grpc-streams.ts": "the stall limit of one stream's writes, set and cleared for each message",
  "api/http-app.ts": "the grace of open calls when the service stops",
  "api/http/lingering-close.ts": "the idle limit of one connection that is being closed",
  "crash/crash-logs.ts": "the limit of one upload as a whole",
  "firmware/upload-sessions.ts": "how long one upload stays open for its next caller",
  "heartbeat/heartbeat-ingest.ts": "begins flushes, of which two run at once: none of the kit's writers does",
  "rollout/offer/directives.ts": "the pace of one burst of directives, which ends with it",
};

/** Programs of their own that the service does not import. */
const otherPrograms = /^(?:agent|cli|client|console)\//;

test("the service sets timers in the kit only, or for a reason", () => {
  const found = globSync("**/*.{ts,tsx}", { cwd: src })
    .filter((file) => !otherPrograms.test(file) && !file.endsWith(".test.ts"))
    .filter((file) => /\bset(?:Timeout|Interval)\b/.test(readFileSync(join(src, file), "utf8")));
  expect(found.toSorted()).toEqual(Object.keys(timers).toSorted());
});
