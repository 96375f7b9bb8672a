import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pino } from "pino";
import { ClockQuality } from "../../gen/ota/v1/heartbeat_pb.js";
import { CommandInstaller } from "../agent/command-installer.ts";
import { DeviceAgent } from "../agent/device-agent.ts";
import { keyFileSigner } from "../agent/device-signer.ts";
import { FileDeviceStorage } from "../agent/device-storage.ts";
import { LinuxSensors } from "../agent/linux-sensors.ts";
import { trustIn } from "../agent/offer-check.ts";
import type { TufTrust } from "../agent/tuf-check.ts";
import { systemClock } from "../infra/clock.ts";
import type { RequiredSignatures } from "../manifest/required-signatures.ts";
import { type ConnectionOptions, connectionTo, type OwnCertificate } from "./connection.ts";
import { CliError, exitCodes } from "./failure.ts";
import type { Cli } from "./session.ts";
import { readTrustedKeys } from "./trusted-keys.ts";

/** What device this machine is, and how it installs. */
export interface AgentOptions extends ConnectionOptions, OwnCertificate {
  readonly stateDir: string;
  readonly serial: string;
  readonly deviceType: string;
  readonly model: string;
  readonly enrolmentKey?: string;
  readonly keyFile?: string;
  readonly formerKeyFile?: string;
  readonly audience?: string;
  readonly trustedKey: string[];
  readonly signaturesRequired: RequiredSignatures;
  readonly tufRoot?: Readonly<Record<string, string>>;
  readonly product?: string;
  readonly componentProduct?: Readonly<Record<string, string>>;
  readonly maxFirmwareSize?: bigint;
  readonly clockSynchronised: boolean;
  readonly versionFile: string;
  readonly componentsFile?: string;
  readonly timeZone?: string;
  readonly userConsent: boolean;
  readonly installCommand: string;
  readonly rebootCommand: string;
  readonly installTimeout?: number;
}

/** Is a device until the signal. */
export async function runAgent(cli: Cli, options: AgentOptions): Promise<void> {
  const connection = await connectionTo(options, options);
  const logger = pino({ level: "info" });
  const folder = resolve(options.stateDir);
  const storage = new FileDeviceStorage(folder, logger);
  const keys = await readTrustedKeys(options.trustedKey);
  const tuf = await tufOf(options, folder);
  const enrolled = (await storage.load())?.identity !== undefined;
  const certified = options.cert !== undefined;
  if (!enrolled && !certified && options.enrolmentKey === undefined) {
    throw new CliError(exitCodes.usage, "the first start needs an --enrolment-key, or a --cert");
  }
  const agent = new DeviceAgent({
    ...connection,
    ...(await keysOf(options)),
    certified,
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
    trust: trustIn(keys, { required: options.signaturesRequired }),
    tuf,
    products: productsOf(options),
    ...(options.maxFirmwareSize === undefined ? {} : { maxFirmwareBytes: Number(options.maxFirmwareSize) }),
    ...(options.clockSynchronised ? { clockQuality: ClockQuality.SYNCHRONISED } : {}),
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
    logger.info({ deviceId: agent.deviceId, server: connection.address }, "the agent is up");
    await interrupted;
  } finally {
    await agent.stop();
  }
}

/** The device's own key, and the one before. */
async function keysOf({ keyFile, formerKeyFile, audience, cert }: AgentOptions) {
  if (keyFile === undefined) {
    if (formerKeyFile === undefined) return {};
    throw new CliError(exitCodes.usage, "--former-key-file: there is no --key-file to replace it");
  }
  if (cert !== undefined)
    throw new CliError(exitCodes.usage, "--key-file: the certificate of --cert is the credential already");
  return {
    signer: await keyFileSigner(keyFile, { make: true }),
    formerSigner:
      formerKeyFile === undefined ? undefined : await keyFileSigner(formerKeyFile, { make: false }),
    audience,
  };
}

async function tufOf({ tufRoot }: AgentOptions, folder: string): Promise<TufTrust | undefined> {
  if (tufRoot === undefined) return undefined;
  const roots = Object.entries(tufRoot).map(
    async ([product, file]) => [product, await readFile(file)] as const,
  );
  return { roots: new Map(await Promise.all(roots)), folder: join(folder, "tuf") };
}

/** By component; the firmware's under the empty one. */
function productsOf({ product, componentProduct = {} }: AgentOptions): ReadonlyMap<string, string> {
  return new Map([
    ...(product === undefined ? [] : [["", product] as const]),
    ...Object.entries(componentProduct),
  ]);
}
