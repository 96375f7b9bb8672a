import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { DeviceSchema, UpdatePin } from "../../gen/ota/v1/device_pb.js";
import {
  BatchUpdateDevicesResponseSchema,
  CountDevicesResponseSchema,
  DeviceService,
  StandingVerb,
} from "../../gen/ota/v1/device_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText } from "./format.ts";
import { collectList } from "./parse.ts";
import { deviceId } from "./references.ts";
import { type Cli, type Session, withSession } from "./session.ts";

/** `device count` and `device batch`: many devices at once. */
export function addDeviceInventoryCommands(device: Command, cli: Cli): void {
  device
    .command("count")
    .argument("[filter]", "only devices that match, for example 'battery_percent < 20 groups:berlin'", "")
    .description("Count the devices in service")
    .action(
      withSession(cli, async (session, filter: string) => {
        const answer = await session.call(DeviceService.method.countDevices, { filter });
        session.print(CountDevicesResponseSchema, answer, () => String(answer.count));
      }),
    );
  device
    .command("correct")
    .argument("<device>", "the device: its id or serial number")
    .description("Say what a device really is; an update that is not meant for such a device is cancelled")
    .option("--device-type <name>", "its type")
    .option("--model <name>", "its hardware model")
    .option("--product <name>", "the product that it runs; empty to let its version tell")
    .action(withSession(cli, correctDevice));
  device
    .command("batch")
    .description("Change many devices: those named, or those that a filter matches")
    .argument("[devices...]", "the devices: their ids or serial numbers")
    .option("--filter <filter>", "the devices that match this instead")
    .option(
      "--expect <count>",
      "how many devices the filter should match, to 1 %; see `device count`",
      parseCount,
    )
    .option("--add-group <names>", "put them in these groups", collectList)
    .option("--remove-group <names>", "take them out of these groups", collectList)
    .option("--add-tag <names>", "put these tags on them", collectList)
    .option("--remove-tag <names>", "take these tags from them", collectList)
    .addOption(new Option("--pin <pin>", "how all rollouts treat them").choices(Object.keys(pins)))
    .option("--product <name>", "the product that they run; '' if nobody is to say")
    .option("--retire", "take them out of service")
    .addOption(
      new Option("--standing <verb>", "how far they shall be let in").choices(Object.keys(standingVerbs)),
    )
    .option("--rotate-token", "have them exchange their token; the one before ends when the new one is used")
    .option("--dry-run", "only say how many devices would be changed")
    .option("--reason <text>", "why, for the audit log")
    .action(withSession(cli, changeDevices));
}

const pins: Readonly<Record<string, UpdatePin>> = {
  none: UpdatePin.UNSPECIFIED,
  canary: UpdatePin.CANARY,
  excluded: UpdatePin.EXCLUDED,
};

const standingVerbs: Readonly<Record<string, StandingVerb>> = {
  block: StandingVerb.BLOCK,
  unblock: StandingVerb.UNBLOCK,
  quarantine: StandingVerb.QUARANTINE,
  approve: StandingVerb.APPROVE,
};

async function correctDevice(
  session: Session,
  reference: string,
  options: { readonly deviceType?: string; readonly model?: string; readonly product?: string },
): Promise<void> {
  const { deviceType, model: hardwareModel, product } = options;
  if (deviceType === undefined && hardwareModel === undefined && product === undefined) {
    throw new CliError(exitCodes.usage, "say what to correct: --device-type, --model or --product");
  }
  const { device, unchanged } = await session.call(DeviceService.method.updateDevice, {
    id: await deviceId(session, reference),
    ...(deviceType === undefined ? {} : { deviceType }),
    ...(hardwareModel === undefined ? {} : { hardwareModel }),
    ...(product === undefined ? {} : { product }),
  });
  if (device === undefined) throw new CliError(exitCodes.failure, "the service answered without a device");
  session.print(DeviceSchema, device, () => {
    const runs = device.product === "" ? "" : `, which runs ${cleanText(device.product)}`;
    return `${cleanText(device.serialNumber)} is a ${cleanText(device.deviceType)} of model ${cleanText(device.hardwareModel)}${runs}.`;
  });
  session.noteUnchanged(unchanged, "so it was already");
}

interface BatchOptions {
  readonly filter?: string;
  readonly expect?: bigint;
  readonly addGroup?: string[];
  readonly removeGroup?: string[];
  readonly addTag?: string[];
  readonly removeTag?: string[];
  readonly pin?: string;
  readonly product?: string;
  readonly retire?: boolean;
  readonly standing?: string;
  readonly rotateToken?: boolean;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

async function changeDevices(
  session: Session,
  references: readonly string[],
  options: BatchOptions,
): Promise<void> {
  const deviceIds: string[] = [];
  for (const reference of references) deviceIds.push(await deviceId(session, reference));
  const pin = options.pin === undefined ? undefined : pins[options.pin];
  const standingVerb = options.standing === undefined ? undefined : standingVerbs[options.standing];
  const answer = await session.call(DeviceService.method.batchUpdateDevices, {
    deviceIds,
    filter: options.filter ?? "",
    ...(options.expect === undefined ? {} : { expectedCount: options.expect }),
    addGroups: options.addGroup ?? [],
    removeGroups: options.removeGroup ?? [],
    addTags: options.addTag ?? [],
    removeTags: options.removeTag ?? [],
    ...(pin === undefined ? {} : { updatePin: pin }),
    ...(options.product === undefined ? {} : { product: options.product }),
    ...(standingVerb === undefined ? {} : { standingVerb }),
    retire: options.retire === true,
    rotateToken: options.rotateToken === true,
    validateOnly: options.dryRun === true,
    reason: options.reason ?? "",
  });
  const verb = options.dryRun === true ? "would be changed" : "changed";
  session.print(
    BatchUpdateDevicesResponseSchema,
    answer,
    () => `${answer.changedCount} of ${answer.matchedCount} devices ${verb}.`,
  );
}

function parseCount(text: string): bigint {
  if (/^\d{1,15}$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError("Write a whole number.");
}
