import type { Command } from "commander";
import { expect, it } from "vitest";
import { createProgram } from "../../src/cli/command-line.ts";
import { createTerminal } from "../../src/cli/terminal.ts";

it("every command explains itself, whatever the defaults of its options are", () => {
  const stream = { write: () => undefined };
  const program = createProgram({
    terminal: createTerminal(stream, stream, {}),
    signal: new AbortController().signal,
    env: {},
  });
  const commands = withSubcommands(program);
  expect(commands.length).toBeGreaterThan(40);
  for (const command of commands) expect(command.helpInformation()).toContain(command.name());
});

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}
