import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { type Command, Option } from "commander";
import { pino } from "pino";
import { CommandInstaller } from "../agent/command-installer.ts";
import { DeviceAgent } from "../agent/device-agent.ts";
import { FileDeviceStorage } from "../agent/device-storage.ts";
import { LinuxSensors } from "../agent/linux-sensors.ts";
import { trustIn } from "../agent/offer-check.ts";
import { systemClock } from "../infra/clock.ts";
import { CliError, exitCodes } from "./failure.ts";
import { collectList, parseCount, parseDurationMs } from "./parse.ts";
import { type Cli, parseServer } from "./session.ts";

interface AgentOptions {
  readonly server: string;
  readonly stateDir: string;
  readonly serial: string;
  readonly deviceType: string;
  readonly model: string;
  readonly enrolmentKey?: string;
  readonly trustedKey: string[];
  readonly threshold: number;
  readonly versionFile: string;
  readonly componentsFile?: string;
  readonly timeZone?: string;
  readonly userConsent: boolean;
  readonly installCommand: string;
  readonly rebootCommand: string;
  readonly installTimeout?: number;
}

/** `agent`: the reference agent, for a real Linux device. */
export function addAgentCommand(program: Command, cli: Cli): void {
  program
    .command("agent")
    .description("Be a device: heartbeats and updates for the Linux machine that this runs on")
    .requiredOption("--device-type <name>", "what kind of thing this is, for example thermostat")
    .requiredOption("--model <name>", "which build of the hardware, for example tx-200")
    .requiredOption("--trusted-key <files>", "public keys (PEM) that may sign its firmware", collectList)
    .option("--threshold <count>", "how many of them must have signed", parseCount(1, 16), 1)
    .option(
      "--serial <number>",
      "the serial number, unique in the fleet (default: the host name)",
      hostname(),
    )
    .addOption(
      new Option("--enrolment-key <secret>", "the key to enrol with; needed once").env(
        "DEVICE_OTA_ENROLMENT_KEY",
      ),
    )
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
    .action((_options: object, command: Command) => runAgent(cli, command.optsWithGlobals<AgentOptions>()));
}

const AGENT_HELP = `
Example:
  $ device-ota agent --server ota.example.com:50051 --device-type thermostat --model tx-200 \\
      --enrolment-key ota_enrol_… --trusted-key release.pub.pem \\
      --install-command 'rauc install "$OTA_FILE"'

The commands also get OTA_VERSION, OTA_SHA256, OTA_UPDATE_ID, OTA_ACTION (install or rollback) and OTA_COMPONENT (the
application's name; empty for firmware). That an update took is
proven by the heartbeats after the reboot, so run the agent at boot.`;

async function runAgent(cli: Cli, options: AgentOptions): Promise<void> {
  const { address, tls } = parseServer(options.server);
  const logger = pino({ level: "info" });
  const folder = resolve(options.stateDir);
  const storage = new FileDeviceStorage(folder, logger);
  const keys = await Promise.all(options.trustedKey.map((file) => readFile(file, "utf8")));
  const enrolled = (await storage.load())?.identity !== undefined;
  if (!enrolled && options.enrolmentKey === undefined) {
    throw new CliError(exitCodes.usage, "the first start needs an --enrolment-key");
  }
  const agent = new DeviceAgent({
    address,
    ...(tls ? { channelCredentials: credentials.createSsl() } : {}),
    enrolment: { enrolmentKey: options.enrolmentKey ?? "", serialNumber: options.serial },
    deviceType: options.deviceType,
    hardwareModel: options.model,
    storage,
    sensors: await LinuxSensors.open({ storageFolder: folder }),
    installer: new CommandInstaller({
      installCommand: options.installCommand,
      rebootCommand: options.rebootCommand,
      versionFile: options.versionFile,
      componentsFile: options.componentsFile,
      ...(options.installTimeout === undefined ? {} : { installTimeoutMs: options.installTimeout }),
    }),
    timeZone: options.timeZone,
    userConsent: () => options.userConsent,
    trust: trustIn(keys, { threshold: options.threshold }),
    logger,
    clock: systemClock,
    onPhase: (phase) => logger.info({ phase }, "update"),
    onState: (state) => logger.info({ state }, "heartbeat stream"),
  });
  const interrupted = new Promise<void>((done) => {
    if (cli.signal.aborted) done();
    cli.signal.addEventListener("abort", () => done(), { once: true });
  });
  try {
    // Enrolment waits for a service that is away, and Ctrl-C must end that wait too.
    await Promise.race([agent.start(), interrupted]);
    logger.info({ deviceId: agent.deviceId, server: address }, "the agent is up");
    await interrupted;
  } finally {
    await agent.stop();
  }
}
