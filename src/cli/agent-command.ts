import { hostname } from "node:os";
import { type Command, Option } from "commander";
import type { AgentOptions } from "./agent.ts";
import { collectList, collectPairs, parseBytes, parseDurationMs } from "./parse.ts";
import type { Cli } from "./session.ts";
import { parseRequiredSignatures } from "./trusted-keys.ts";

/** `agent`: the reference agent, for a real Linux device. */
export function addAgentCommand(program: Command, cli: Cli): void {
  program
    .command("agent")
    .description("Be a device: heartbeats and updates for the Linux machine that this runs on")
    .requiredOption("--device-type <name>", "what kind of thing this is, for example thermostat")
    .requiredOption("--model <name>", "which build of the hardware, for example tx-200")
    .requiredOption(
      "--trusted-key <files>",
      "public keys (PEM) that may sign its firmware; security=FILE for one with that role; repeatable",
      collectList,
    )
    .option("--product <name>", "takes this product's firmware alone (default: of the first one it took)")
    .option("--component-product <component=product>", "the same of an application; repeatable", collectPairs)
    .option("--max-firmware-size <size>", "takes no larger content (default: 16GiB)", parseBytes)
    .option(
      "--clock-synchronised",
      "the clock is kept right: what has expired by it is refused, whatever the service says",
      false,
    )
    .option(
      "--signatures-required <counts>",
      "how many different ones must have signed: 2, or by role release=1,security=1",
      parseRequiredSignatures,
      { total: 1 },
    )
    .option(
      "--tuf-root <product=file>",
      "takes what the product's TUF metadata names, and nothing else; the file is its root; repeatable",
      collectPairs,
    )
    .option(
      "--serial <number>",
      "the serial number, unique in the fleet (default: the host name)",
      hostname(),
    )
    .addOption(
      new Option(
        "--enrolment-key <secret>",
        "the key to enrol with, also when the service has lost the device; not for a certificate",
      ).env("DEVICE_OTA_ENROLMENT_KEY"),
    )
    .option("--cert <file>", "PEM of the device's own certificate, its credential instead of key and token")
    .option("--key <file>", "PEM of the private key of that certificate")
    .option(
      "--key-file <file>",
      "PEM of a key of the device's own, instead of a token; made if there is none",
    )
    .option("--former-key-file <file>", "the key before, which --key-file is to replace")
    .option("--audience <name>", "how the service calls itself in what that key signs (default: device-ota)")
    .option("--state-dir <folder>", "identity, backlog and downloads; readable by its user alone", "./device")
    .option(
      "--version-file <file>",
      "a file whose whole content is the running version",
      "/etc/firmware-version",
    )
    .option("--components-file <file>", "a JSON file with the version of each application by name")
    .option("--time-zone <name>", "where the device is, for maintenance windows, e.g. Europe/Berlin")
    .option("--no-user-consent", "do not agree to updates that ask for the user's consent")
    .requiredOption(
      "--install-command <command>",
      "installs $OTA_FILE, which is verified; exit code 0 is success",
    )
    .option("--reboot-command <command>", "boots what was installed", "systemctl reboot")
    .option(
      "--install-timeout <duration>",
      "how long the installation may take (default: 30m)",
      parseDurationMs,
    )
    .addHelpText("after", AGENT_HELP)
    .action(async (_options: object, command: Command) => {
      // Only who is a device waits for its libraries.
      const { runAgent } = await import("./agent.ts");
      await runAgent(cli, command.optsWithGlobals<AgentOptions>());
    });
}

const AGENT_HELP = `
Example:
  $ device-ota agent --server https://ota.example.com:50051 --device-type thermostat --model tx-200 \\
      --enrolment-key ota_enrol_… --trusted-key release.pub.pem \\
      --install-command 'rauc install "$OTA_FILE"'

The commands also get OTA_VERSION, OTA_SHA256, OTA_UPDATE_ID, OTA_ACTION (install or rollback) and OTA_COMPONENT (the
application's name; empty for firmware). That an update took is
proven by the heartbeats after the reboot, so run the agent at boot.

Two of three keys, and one of them of whoever looks after security:
  --trusted-key a.pub.pem,b.pub.pem,security=sec.pub.pem --signatures-required release=1,security=1`;
