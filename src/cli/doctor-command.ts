import type { Command } from "commander";
import type { DoctorOptions } from "./doctor.ts";
import type { Cli } from "./session.ts";

/** `doctor`: whether the service would work here. */
export function addDoctorCommand(program: Command, cli: Cli): void {
  program
    .command("doctor")
    .description("Look at settings, database, store, clock, certificate, disks and limits; say what to do")
    .addHelpText(
      "after",
      `
Looks at what \`serve\` would use with the same settings, as the same user, on the same machine. The service may run meanwhile.
Exit code 5 if there is a fault: the service could not start or work. Warnings do not count.`,
    )
    .action(async (_options: object, command: Command) => {
      const { doctor } = await import("./doctor.ts");
      await doctor(cli, command.optsWithGlobals<DoctorOptions>());
    });
}
