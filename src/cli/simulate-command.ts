import { type Command, Option } from "commander";
import {
  collectList,
  collectNames,
  collectShares,
  parseCount,
  parseDurationMs,
  parsePercent,
} from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import type { SimulateOptions } from "./simulate.ts";

/** `simulate`: a fleet of simulated devices that joins a running service. */
export function addSimulateCommand(program: Command, cli: Cli): void {
  program
    .command("simulate")
    .description("Let simulated devices join a running service, until Ctrl-C")
    .option("-c, --count <count>", "how many", parseCount(1, 2000), 50)
    .addOption(
      new Option(
        "--enrolment-key <secret>",
        "the key to enrol with (default: a new one, if your token may make it)",
      ).env("DEVICE_OTA_ENROLMENT_KEY"),
    )
    .option(
      "--trusted-key <files>",
      "public keys (PEM) to trust (default: those registered at the service)",
      collectList,
    )
    .option("--allow-unsigned", "take unsigned firmware too", false)
    .option("--firmware-version <version>", "the version that they come with", "1.0.0")
    .option(
      "--model <type:model>",
      "what they are, e.g. thermostat:tx-200; repeatable, a comma of a name as \\, (default: a mix)",
      collectNames,
    )
    .option(
      "--heartbeat-interval <duration>",
      "how often they beat (default: as the service says)",
      parseDurationMs,
    )
    .optionsGroup("How they misbehave:")
    .option(
      "--crash <version=share>",
      "this share crashes on this version, e.g. 1.2.0=0.33; repeatable",
      collectShares,
      {},
    )
    .option("--failing <percent>", "installations that fail", parsePercent, 0)
    .option("--reverting <percent>", "devices that come back on the version before", parsePercent, 0)
    .option("--silent <percent>", "devices that do not come back from an update", parsePercent, 0)
    .option("--late <percent>", "devices that come back late from an update", parsePercent, 0)
    .addOption(durationOption("--late-after <duration>", "how long those stay away", "5m"))
    .option("--drifting <percent>", "devices that later fall back to the version before", parsePercent, 0)
    .addOption(durationOption("--drift-after <duration>", "how long those run the update", "5m"))
    .option("--slow <percent>", "devices with a slow network", parsePercent, 0)
    .option("--offline <percent>", "devices that lose the network now and then", parsePercent, 0)
    .option("--seed <number>", "the same seed makes the same devices misbehave", parseCount(1, 1_000_000), 1)
    .optionsGroup("When to end:")
    .option("--for <duration>", "end by itself after this time", parseDurationMs)
    .action(
      withSession(cli, async (session: Session, options: SimulateOptions) => {
        // Only who plays devices waits for their libraries.
        const { simulate } = await import("./simulate.ts");
        await simulate(session, options);
      }),
    );
}

function durationOption(flags: string, description: string, text: string): Option {
  return new Option(flags, description).argParser(parseDurationMs).default(parseDurationMs(text), text);
}
