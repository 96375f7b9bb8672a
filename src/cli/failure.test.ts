import { status } from "@grpc/grpc-js";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { ClientError } from "../client/client-error.ts";
import { illegalTransition, invalidArgument, notFound } from "../errors.ts";
import { CliError, describeFailure, exitCodes, failureJson, failureText } from "./failure.ts";

describe("exit codes", () => {
  it.each([
    [status.INVALID_ARGUMENT, 2],
    [status.OUT_OF_RANGE, 2],
    [status.NOT_FOUND, 3],
    [status.UNAUTHENTICATED, 4],
    [status.PERMISSION_DENIED, 4],
    [status.FAILED_PRECONDITION, 5],
    [status.ALREADY_EXISTS, 5],
    [status.ABORTED, 5],
    [status.UNAVAILABLE, 6],
    [status.DEADLINE_EXCEEDED, 6],
    [status.RESOURCE_EXHAUSTED, 6],
    [status.INTERNAL, 1],
    [status.DATA_LOSS, 1],
  ])("maps gRPC status %i to %i", (code, expected) => {
    expect(describeFailure(new ClientError(code, "x")).exitCode).toBe(expected);
  });

  it("gives local faults the code of the same fault at the service", () => {
    expect(describeFailure(invalidArgument("version", "is wrong")).exitCode).toBe(exitCodes.usage);
    expect(describeFailure(notFound("firmware", "1")).exitCode).toBe(exitCodes.notFound);
    expect(describeFailure(illegalTransition("rollout", "pause", "DRAFT", [])).exitCode).toBe(
      exitCodes.precondition,
    );
  });

  it.each([
    "listen EADDRINUSE: address already in use 127.0.0.1:8080",
    "No address added out of total 1 resolved errors: [listen EADDRINUSE: address already in use 127.0.0.1:8080]",
  ])("says what to do about a port that is taken: %s", (message) => {
    expect(failureText(describeFailure(new Error(message)))).toBe(
      "device-ota: another program listens on 127.0.0.1:8080: stop it, or choose other ports with --http-port and " +
        "--grpc-port (0 takes a free one)",
    );
  });

  it("calls a wrong command line wrong usage, and asked-for help no failure", () => {
    expect(describeFailure(new CommanderError(1, "commander.unknownOption", "x")).exitCode).toBe(
      exitCodes.usage,
    );
    expect(describeFailure(new CommanderError(0, "commander.helpDisplayed", "x")).exitCode).toBe(
      exitCodes.ok,
    );
  });

  it("calls a file that is not there wrong usage", () => {
    const error = Object.assign(new Error("ENOENT: no such file"), { code: "ENOENT" });
    expect(describeFailure(error).exitCode).toBe(exitCodes.usage);
  });

  it("calls everything else a failure", () => {
    expect(describeFailure(new TypeError("x")).exitCode).toBe(exitCodes.failure);
    expect(describeFailure("thrown text")).toMatchObject({
      exitCode: exitCodes.failure,
      message: "thrown text",
    });
  });
});

describe("the text of a failure", () => {
  it("has reason, fields and request id in one line", () => {
    const error = new ClientError(status.INVALID_ARGUMENT, "the request is wrong", {
      reason: "INVALID_REQUEST",
      fields: [{ field: "version", description: "must be a semantic version" }],
      metadata: { requestId: "0199-1" },
    });
    expect(failureText(describeFailure(error))).toBe(
      "device-ota: the request is wrong (INVALID_REQUEST; version: must be a semantic version; request 0199-1)",
    );
  });

  it("does not repeat the field that the message names already", () => {
    expect(failureText(describeFailure(invalidArgument("version", "is wrong")))).toBe(
      "device-ota: version: is wrong (INVALID_REQUEST)",
    );
  });

  it("says how to get at a service that is not there", () => {
    const message =
      "No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:50051. Resolution note: ";
    const text = failureText(describeFailure(new ClientError(status.UNAVAILABLE, message)));
    expect(text).toMatch(
      /^device-ota: cannot reach the service: connect ECONNREFUSED 127\.0\.0\.1:50051 \(UNAVAILABLE\)\n/,
    );
    expect(text).toContain("--server");
  });

  it("cannot be faked by what the service relays", () => {
    const text = failureText(
      describeFailure(new ClientError(status.NOT_FOUND, "gone\n\u001b[2Jall is well")),
    );
    expect(text).toBe("device-ota: gone all is well (NOT_FOUND)");
  });

  it("keeps hints on a line of their own", () => {
    expect(failureText(describeFailure(new CliError(3, "nothing", "look elsewhere")))).toBe(
      "device-ota: nothing\nlook elsewhere",
    );
  });

  it("is one object for scripts", () => {
    const error = new ClientError(status.NOT_FOUND, "gone", { reason: "NOT_FOUND" });
    expect(JSON.parse(failureJson(describeFailure(error)))).toEqual({
      error: { exitCode: 3, message: "gone", reason: "NOT_FOUND", fields: [], requestId: "" },
    });
  });
});
