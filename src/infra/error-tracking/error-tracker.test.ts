import { afterEach, expect, it, vi } from "vitest";
import { OtaError } from "../../errors.ts";
import { systemClock } from "../clock.ts";
import { ErrorTracker } from "./error-tracker.ts";
import { envelopeOf, wordsOf } from "./sentry-event.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

const receiver = { url: "https://errors.example.com/api/7/envelope/", key: "key" };
const settings = { receiver, environment: "test" };

function posts(status = 200, headers: Record<string, string> = {}): unknown[][] {
  const sent: unknown[][] = [];
  vi.stubGlobal("fetch", async (...args: unknown[]) => {
    sent.push(args);
    return new Response("{}", { status, headers });
  });
  return sent;
}

it("words of errors hold nothing that was quoted, and no numbers", () => {
  expect(wordsOf(new Error('invalid input syntax for type uuid: "serial-of-a-device"'))).not.toContain(
    "serial",
  );
  expect(wordsOf(new SyntaxError('Unexpected token "x", "never closed'))).not.toContain("never");
  expect(wordsOf(new Error("row 12 of device 0198aa-77"))).toBe("row … of device …");
  expect(wordsOf(Object.assign(new Error("no such table"), { code: "42P01" }))).toBe("42P01: no such table");
});

it("an error is sent with its causes and the files of the service, without where it is installed", () => {
  const envelope = envelopeOf(
    new Error("outer", { cause: new TypeError("inner") }),
    { environment: "test", tags: {} },
    new Date(0),
  );
  const [, , event] = envelope.trimEnd().split("\n");
  const { values } = JSON.parse(event ?? "").exception;
  expect(values.map(({ type }: { type: string }) => type)).toEqual(["TypeError", "Error"]);
  expect(values[1].stacktrace.frames.at(-1).filename).toBe("src/infra/error-tracking/error-tracker.test.ts");
  expect(envelope).not.toContain(process.cwd());
});

it("outages and what callers do wrong are not sent", async () => {
  const sent = posts();
  await using tracker = new ErrorTracker(settings, systemClock);
  tracker.report(Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }), {});
  tracker.report(new OtaError("unavailable", "STORAGE_UNAVAILABLE", "away"), {});
  tracker.report(new OtaError("invalid_argument", "INVALID_REQUEST", "wrong"), {});
  expect(sent).toEqual([]);
});

it("one error a minute is sent of each place, and so many of all", async () => {
  const sent = posts();
  let nowMs = 0;
  await using tracker = new ErrorTracker(settings, {
    ...systemClock,
    now: () => new Date(0),
    monotonicMs: () => nowMs,
  });
  const again = (): void => tracker.report(new Error("again"), {});
  for (let count = 0; count < 5; count++) again();
  expect(sent).toHaveLength(1);
  for (let count = 0; count < 100; count++)
    tracker.report(
      Object.assign(new Error("other"), { stack: `Error: other\n    at place${count} (a.ts:1:1)` }),
      {},
    );
  expect(sent).toHaveLength(20);
  nowMs = 60_000;
  again();
  expect(sent).toHaveLength(21);
});

it("a receiver that has enough is left alone for as long as it says", async () => {
  const sent = posts(429, { "retry-after": "120" });
  let nowMs = 0;
  const tracker = new ErrorTracker(settings, {
    ...systemClock,
    now: () => new Date(0),
    monotonicMs: () => nowMs,
  });
  tracker.report(new Error("first"), {});
  await tracker[Symbol.asyncDispose]();
  nowMs = 119_000;
  tracker.report(new RangeError("second"), {});
  expect(sent).toHaveLength(1);
  nowMs = 120_000;
  tracker.report(new RangeError("third"), {});
  expect(sent).toHaveLength(2);
});
