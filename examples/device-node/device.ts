// A whole device in TypeScript, by the package device-ota-client, which does all that the other examples do by hand. From outside: SERVICE
// (host:port), ENROLMENT_KEY, SERIAL_NUMBER, DEVICE_TYPE, HARDWARE_MODEL, PRODUCT, TRUSTED_KEY (a public key, PEM), INSTALL_HOOK, and
// STATE_DIR, which survives reboots and holds the `version` that runs.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { RpcClient } from "device-ota-client";
import {
  CommandInstaller,
  DeviceAgent,
  FileDeviceStorage,
  LinuxSensors,
  systemClock,
  trustIn,
} from "device-ota-client/agent";
import { UpdateService } from "device-ota-client/ota/v1/update_service_pb.js";
import { pino } from "pino";

const setting = (name: string): string => process.env[name] ?? fail(`${name} is not set`);
const say = (text: string) => process.stdout.write(`${setting("SERIAL_NUMBER")} (node): ${text}\n`);
const logger = pino({}, { write: (line: string) => say(lineOf(JSON.parse(line))) });
const folder = setting("STATE_DIR");
const version = readFileSync(join(folder, "version"), "utf8").trim();
const address = setting("SERVICE"); // another machine needs `channelCredentials` too: credentials.createSsl() of @grpc/grpc-js
const storage = new FileDeviceStorage(join(folder, "agent"), logger);

await using agent = new DeviceAgent({
  address,
  enrolment: { enrolmentKey: setting("ENROLMENT_KEY"), serialNumber: setting("SERIAL_NUMBER") },
  deviceType: setting("DEVICE_TYPE"),
  hardwareModel: setting("HARDWARE_MODEL"),
  products: new Map([["", setting("PRODUCT")]]),
  trust: trustIn([readFileSync(setting("TRUSTED_KEY"), "utf8")]),
  storage,
  sensors: Object.assign(await LinuxSensors.open({ storageFolder: folder }), { bootId: randomUUID() }), // each start is a boot here
  installer: new CommandInstaller({
    installCommand: '"$INSTALL_HOOK" install "$OTA_FILE" "$OTA_VERSION"',
    // On a device `systemctl reboot`, which ends this program; here whoever started it starts it again.
    rebootCommand: '"$INSTALL_HOOK" reboot && kill "$PPID"',
    versionFile: join(folder, "version"),
  }),
  onPhase: (phase) => say(phase),
  logger,
  clock: systemClock,
});
const asked = new Promise((resolve) => process.once("SIGTERM", resolve));
await agent.start();
say(`enrolled; runs ${version}`);

// The typed client, for whatever the agent does not do: here what the device would be offered now.
using client = new RpcClient({ address, token: (await storage.load())?.identity?.token });
const { offer } = await client.unary(UpdateService.method.checkForUpdate, { firmwareVersion: version });
say(offer === undefined ? "nothing to install" : `is offered ${offer.version}`);
await asked;

function lineOf({ msg, reason }: { msg: string; reason?: string }): string {
  return reason === undefined ? msg : `${msg}: FAILED ${reason}`;
}

function fail(text: string): never {
  throw new Error(text);
}
