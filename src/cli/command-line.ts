import { Command, CommanderError, Option } from "commander";
import { addAccessCommands } from "./access-commands.ts";
import { addAgentCommand } from "./agent-command.ts";
import { addAlertCommands } from "./alert-commands.ts";
import { addAuditCommands } from "./audit-commands.ts";
import { addBackupCommands } from "./backup-commands.ts";
import { addCertificateCommand } from "./certificate-command.ts";
import { addDemoCommand } from "./demo/demo-command.ts";
import { addDeviceCommands } from "./device-commands.ts";
import { addDoctorCommand } from "./doctor-command.ts";
import { addErrorCommands } from "./error-commands.ts";
import { addDeviceTypeCommands } from "./expected-interval-commands.ts";
import { describeFailure, exitCodes, failureJson, failureText } from "./failure.ts";
import { addFirmwareCommands } from "./firmware-commands.ts";
import { addMigrateCommands, addRecountCommand } from "./migrate-command.ts";
import { addModelAliasCommands } from "./model-alias-commands.ts";
import { ownVersion } from "./own-version.ts";
import { addPersonCommands } from "./person-commands.ts";
import { addRolloutCommands } from "./rollout-commands.ts";
import { addServeCommand } from "./serve-command.ts";
import type { Cli } from "./session.ts";
import { addSimulateCommand } from "./simulate-command.ts";
import { addStoreCommands } from "./store-commands.ts";
import { addSymbolCommands } from "./symbol-commands.ts";
import { createTerminal } from "./terminal.ts";
import { addTufCommands } from "./tuf-commands.ts";
import { addWebhookCommands } from "./webhook-commands.ts";

/**
 * Runs one command line and returns its exit code; see {@link exitCodes}. The first Ctrl-C, SIGTERM or SIGHUP (its terminal was
 * closed) asks the command to end in order, a second Ctrl-C or SIGTERM ends the process at once.
 */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const terminal = createTerminal(process.stdout, process.stderr, process.env);
  // A reader that went away (`device-ota device list | head -1`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.ok);
    terminal.note(`standard output cannot be written: ${error.message}`);
    process.exit(exitCodes.failure);
  });
  // Nobody reads the notes any more, or their disk is full: what the command does goes on.
  process.stderr.on("error", () => undefined);
  if (args[0] === "--version" || args[0] === "-V") {
    terminal.out(await ownVersion());
    return exitCodes.ok;
  }
  using interruption = listenForSignals();
  const cli: Cli = { terminal, signal: interruption.signal, env: process.env };
  const program = createProgram(cli);
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    if (interruption.signal.aborted) return exitCodes.interrupted;
    const failure = describeFailure(error);
    // Commander has printed its own message, or the help that was asked for.
    if (!(error instanceof CommanderError)) {
      terminal.note(args.includes("--json") ? failureJson(failure) : failureText(failure));
    }
    return failure.exitCode;
  }
}

/** The whole command tree, without running anything. */
export function createProgram(cli: Cli): Command {
  const program = new Command("device-ota")
    .description(
      "Ships firmware to device fleets in rings, watches every device by its heartbeats, and rolls a bad update back by itself.",
    )
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => cli.terminal.write(text),
      outputError: (text) => cli.terminal.note(text.trimEnd()),
    })
    .addHelpText("after", PROGRAM_HELP);
  program
    .addOption(
      new Option("-s, --server <address>", "the service: host:port, or https://host:port for TLS")
        .env("DEVICE_OTA_SERVER")
        .default("127.0.0.1:50051"),
    )
    .addOption(
      new Option("--ca <file>", "PEM of the authority that vouches for the service, if it is your own").env(
        "DEVICE_OTA_CA_FILE",
      ),
    )
    .option("--insecure", "reach another machine without TLS: everybody on the way can read and change it")
    .addOption(
      new Option(
        "-t, --token <token>",
        "an operator's token (default: what `serve` left in the data folder)",
      ).env("DEVICE_OTA_TOKEN"),
    )
    .addOption(
      new Option("--data-dir <folder>", "the data folder of a service on this machine")
        .env("DEVICE_OTA_DATA_DIR")
        .default("./data"),
    )
    .option("--json", "print JSON, for scripts");
  program.commandsGroup("Run it:");
  addServeCommand(program, cli);
  addDemoCommand(program, cli);
  addSimulateCommand(program, cli);
  addAgentCommand(program, cli);
  addMigrateCommands(program, cli);
  addRecountCommand(program, cli);
  addBackupCommands(program, cli);
  addDoctorCommand(program, cli);
  addStoreCommands(program, cli);
  program.commandsGroup("Ship updates:");
  addFirmwareCommands(program, cli);
  addRolloutCommands(program, cli);
  addTufCommands(program, cli);
  program.commandsGroup("Watch the fleet:");
  addDeviceCommands(program, cli);
  addDeviceTypeCommands(program, cli);
  addModelAliasCommands(program, cli);
  addErrorCommands(program, cli);
  addSymbolCommands(program, cli);
  addAlertCommands(program, cli);
  addWebhookCommands(program, cli);
  program.commandsGroup("Who may do what:");
  addAccessCommands(program, cli);
  addAuditCommands(program, cli);
  addCertificateCommand(program, cli);
  addPersonCommands(program, cli);
  return program;
}

const PROGRAM_HELP = `
First steps:
  $ device-ota demo                      a fleet, a good update, and two bad ones that are rolled back: one minute
  $ device-ota serve                     run the service; needs nothing else
  $ device-ota simulate --count 50       in a second terminal: 50 devices join it
  $ device-ota fleet status              in a third one
  $ device-ota --server https://ota.example.com:50051 fleet status     on another machine: by TLS alone

Exit codes: 0 done · 1 failed · 2 wrong usage · 3 not found · 4 not allowed · 5 not in this state · 6 service away
Version: device-ota --version`;

interface Interruption extends Disposable {
  readonly signal: AbortSignal;
}

function listenForSignals(): Interruption {
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    // A closing terminal may say so twice, by itself and by its shell.
    if (controller.signal.aborted && signal !== "SIGHUP") process.exit(exitCodes.interrupted);
    controller.abort(new Error("interrupted"));
  };
  for (const signal of endingSignals) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const signal of endingSignals) process.off(signal, onSignal);
    },
  };
}

const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
