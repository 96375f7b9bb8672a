import { describe, expect, it } from "vitest";
import { OtaError } from "../../errors.ts";
import { asDatabaseError, isDataError, isRetryable, uniqueViolation, withRetry } from "./errors.ts";

function coded(code: string, message = "failed"): Error {
  return Object.assign(new Error(message), { code });
}

describe("asDatabaseError", () => {
  it.each(["ECONNREFUSED", "ECONNRESET", "57P01", "57P03", "08006", "53100", "53300", "25006", "55P03"])(
    "takes %s for an outage",
    (code) => {
      const cause = coded(code);
      const error = asDatabaseError(cause);
      expect(error).toMatchObject({
        code: "unavailable",
        reason: "DATABASE_UNAVAILABLE",
        retryAfterMs: 1_000,
      });
      expect(error?.cause).toBe(cause);
    },
  );

  it.each([
    "timeout exceeded when trying to connect",
    "Connection terminated unexpectedly",
    "Connection terminated due to connection timeout",
    "Query read timeout",
  ])("takes pg's %j, which has no code, for an outage", (message) => {
    expect(asDatabaseError(new Error(message))?.reason).toBe("DATABASE_UNAVAILABLE");
  });

  it.each([
    [coded("53300"), "the database takes no more connections"],
    [coded("53400"), "the database has no room left for temporary files"],
    [coded("ENOTFOUND"), "the database has a host name that does not resolve"],
    [new Error("timeout exceeded when trying to connect"), "the database gave no connection in time"],
    [coded("ECONNRESET"), "the database is not available"],
    [
      Object.assign(coded("EMFILE"), { syscall: "connect" }),
      "the database cannot be connected to: the service may open no more files",
    ],
  ])("says of %s what it means", (error, words) => {
    expect(asDatabaseError(error)?.message).toBe(words);
  });

  it("takes a protocol violation that ends the connection for an outage", () => {
    const fatal = Object.assign(coded("08P01"), { severity: "FATAL" });
    expect(asDatabaseError(fatal)?.reason).toBe("DATABASE_UNAVAILABLE");
    expect(isDataError(fatal)).toBe(false);
    expect(isDataError(Object.assign(coded("08P01"), { severity: "ERROR" }))).toBe(true);
  });

  it("sees an outage under other errors and among several", () => {
    expect(asDatabaseError(new Error("flush failed", { cause: coded("57P01") }))).toBeInstanceOf(OtaError);
    expect(asDatabaseError(new AggregateError([coded("ECONNREFUSED")], ""))).toBeInstanceOf(OtaError);
    expect(asDatabaseError(Object.assign(coded("ENOENT"), { syscall: "connect" }))).toBeInstanceOf(OtaError);
  });

  it.each([
    ["a duplicate", coded("23505")],
    ["a missing file", Object.assign(coded("ENOENT"), { syscall: "open" })],
    ["a file for which no descriptor is left", Object.assign(coded("EMFILE"), { syscall: "open" })],
    ["a code that only begins alike", coded("080061")],
    ["a value that no message can carry", Object.assign(coded("08P01"), { severity: "ERROR" })],
    ["an answer of ours", new OtaError("internal", "INTERNAL", "x", { cause: coded("57P01") })],
    ["text", "Connection terminated"],
    ["nothing", undefined],
  ])("lets %s be", (_, error) => {
    expect(asDatabaseError(error)).toBeUndefined();
  });

  it("ends on causes that go in circles", () => {
    const error = new Error("loop");
    error.cause = new Error("back", { cause: error });
    expect(asDatabaseError(error)).toBeUndefined();
  });
});

describe("uniqueViolation", () => {
  it("names the constraint, also under other errors", () => {
    const error = Object.assign(coded("23505"), { constraint: "devices_serial_number_unique" });
    expect(uniqueViolation(new Error("x", { cause: error }))).toBe("devices_serial_number_unique");
    expect(uniqueViolation(coded("23503"))).toBeUndefined();
  });
});

describe("withRetry", () => {
  it("tries as often as it may and throws the last failure", async () => {
    const seen: number[] = [];
    const run = withRetry(
      async (attempt) => {
        seen.push(attempt);
        throw coded("40001", `attempt ${attempt}`);
      },
      { attempts: 3 },
    );
    await expect(run).rejects.toThrow("attempt 3");
    expect(seen).toEqual([1, 2, 3]);
  });

  it("does not repeat what would fail again", async () => {
    const failure = coded("23505");
    expect(isRetryable(failure)).toBe(false);
    let runs = 0;
    const run = withRetry(
      async () => {
        runs += 1;
        throw failure;
      },
      { attempts: 3 },
    );
    await expect(run).rejects.toBe(failure);
    expect(runs).toBe(1);
  });

  it("stops when the caller gives up", async () => {
    const giveUp = new AbortController();
    const run = withRetry(
      async () => {
        giveUp.abort();
        throw coded("40P01");
      },
      { attempts: 100, signal: giveUp.signal },
    );
    await expect(run).rejects.toMatchObject({ name: "AbortError" });
  });
});
