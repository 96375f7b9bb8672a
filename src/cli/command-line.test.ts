import { type Command, CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { createProgram } from "./command-line.ts";
import type { Cli } from "./session.ts";
import { createTerminal } from "./terminal.ts";

function testProgram(): { program: Command; printed: () => string } {
  let text = "";
  const stream = { write: (part: string) => void (text += part) };
  const cli: Cli = {
    terminal: createTerminal(stream, stream, {}),
    signal: new AbortController().signal,
    env: {},
  };
  return { program: createProgram(cli), printed: () => text };
}

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

describe("the command tree", () => {
  it("has every command", () => {
    expect(
      leaves(testProgram().program)
        .map(pathOf)
        .map((path) => path.replace("device-ota ", "")),
    ).toEqual([
      "serve",
      "demo",
      "simulate",
      "agent",
      "migrate status",
      "migrate up",
      "migrate down",
      "recount",
      "backup",
      "restore",
      "move-database",
      "doctor",
      "store orphans",
      "firmware keygen",
      "firmware sign",
      "firmware create",
      "firmware publish",
      "firmware upload",
      "firmware manifest",
      "firmware submit",
      "firmware release",
      "firmware list",
      "firmware show",
      "firmware reported-as",
      "firmware delete",
      "firmware attach",
      "firmware attachments",
      "firmware attachment",
      "firmware detach",
      "firmware recall",
      "firmware reinstate",
      "firmware recalls",
      "firmware deploy",
      "rollout create",
      "rollout defaults",
      "rollout list",
      "rollout status",
      "rollout watch",
      "rollout devices",
      "rollout preview",
      "rollout explain",
      "rollout health",
      "rollout failures",
      "rollout archive",
      "rollout unarchive",
      "rollout update",
      "rollout label",
      "rollout start",
      "rollout promote",
      "rollout approve",
      "rollout rollback",
      "rollout retry",
      "rollout pause",
      "rollout resume",
      "rollout abort",
      "tuf online-key",
      "tuf init",
      "tuf draft",
      "tuf sign",
      "tuf publish",
      "tuf show",
      "device list",
      "device show",
      "device retire",
      "device reset",
      "device reinstate",
      "device block",
      "device unblock",
      "device quarantine",
      "device approve",
      "device expect",
      "device count",
      "device correct",
      "device batch",
      "device import",
      "device series",
      "device export",
      "fleet watch",
      "fleet status",
      "heartbeat list",
      "types list",
      "types expect",
      "model alias",
      "model list",
      "model unalias",
      "error list",
      "error show",
      "error resolve",
      "error ignore",
      "error reopen",
      "error lines",
      "error merge",
      "error split",
      "error rule list",
      "error rule add",
      "error rule delete",
      "symbols upload",
      "symbols list",
      "symbols delete",
      "alerts list",
      "alerts ack",
      "alerts watch",
      "webhook create",
      "webhook list",
      "webhook update",
      "webhook delete",
      "webhook test",
      "webhook deliveries",
      "webhook replay",
      "token create",
      "token list",
      "token reset",
      "token revoke",
      "enrolment-key create",
      "enrolment-key list",
      "enrolment-key revoke",
      "signing-key register",
      "signing-key list",
      "signing-key update",
      "signing-key revoke",
      "signing-key require",
      "signing-key requirements",
      "audit list",
      "audit export",
      "audit verify",
      "certificate self-signed",
      "person list",
      "person disable",
      "person enable",
      "person end-sessions",
    ]);
  });

  it.each(leaves(testProgram().program).map((command) => [pathOf(command), command] as const))(
    "%s explains itself, its arguments and its options",
    (_path, command) => {
      expect(command.description()).not.toBe("");
      for (const argument of command.registeredArguments) expect(argument.description).not.toBe("");
      for (const option of command.options) expect(option.description).not.toBe("");
    },
  );

  it.each([
    [["firmware", "deploy"], "missing required argument"],
    [["device", "list", "--limit", "0"], "whole number"],
    [["rollout", "list", "--state", "walking"], "rolling-back"],
    [["device", "lst"], "Did you mean list?"],
    [["migrate", "down"], "--yes"],
  ])("refuses %j with a message that helps", async (args, message) => {
    const { program, printed } = testProgram();
    await expect(program.parseAsync(args, { from: "user" })).rejects.toBeInstanceOf(CommanderError);
    expect(printed()).toContain(message);
  });
});
