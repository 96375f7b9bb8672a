import type { Command } from "commander";
import { addEnrolmentKeyCommands } from "./enrolment-key-commands.ts";
import type { Cli } from "./session.ts";
import { addSigningKeyCommands } from "./signing-key-commands.ts";
import { addTokenCommands } from "./token-commands.ts";

/** `token …`, `enrolment-key …` and `signing-key …`: who may do what. */
export function addAccessCommands(program: Command, cli: Cli): void {
  addTokenCommands(program, cli);
  addEnrolmentKeyCommands(program, cli);
  addSigningKeyCommands(program, cli);
}
