import type { Command } from "commander";
import { parseCount } from "../parse.ts";
import type { Cli } from "../session.ts";
import type { DemoOptions } from "./demo.ts";

/** `demo`: the main job in a minute, on a service and a fleet that are real and vanish afterwards. */
export function addDemoCommand(program: Command, cli: Cli): void {
  program
    .command("demo")
    .description(
      "Watch a fleet take a good update, a bad one that is rolled back by itself, and one that bricks",
    )
    .option("--devices <count>", "how many devices to simulate", parseCount(50, 2000), 200)
    .option(
      "--seed <number>",
      "the same seed makes the same devices behave the same way",
      parseCount(1, 1_000_000),
      1,
    )
    .option("--keep", "leave everything running afterwards, until Ctrl-C", false)
    .addHelpText("after", DEMO_HELP)
    .action(async (options: DemoOptions, command: Command) => {
      // Only who watches waits for the service, the fleet and the story.
      const { runDemo } = await import("./demo.ts");
      await runDemo(cli, options, command.optsWithGlobals<{ json?: boolean }>().json === true);
    });
}

const DEMO_HELP = `
Nothing is staged: a service with its own PostgreSQL in a temporary folder, devices that enrol over gRPC on
sockets of their own, files of 4 MiB that are really downloaded and checked. Only time is compressed: rings wait seconds
instead of hours. The summary is computed from the service's answers; exit code 0 means that every claim held.`;
