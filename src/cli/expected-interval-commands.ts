import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type Device, DeviceSchema, ExpectedIntervalSource } from "../../gen/ota/v1/device_pb.js";
import {
  DeviceService,
  DeviceTypeSchema,
  ListDeviceTypesResponseSchema,
} from "../../gen/ota/v1/device_service_pb.js";
import { cleanText, durationText, timeText } from "./format.ts";
import { parseDurationMs } from "./parse.ts";
import { deviceId } from "./references.ts";
import { type Cli, withSession } from "./session.ts";
import { renderTable } from "./table.ts";

/** `types …`: the device types, and how often devices of each are expected. */
export function addDeviceTypeCommands(program: Command, cli: Cli): void {
  const types = program
    .command("types")
    .description("The device types: how often their devices are expected");
  types
    .command("list", { isDefault: true })
    .description("List the device types, with how many devices in service are of each")
    .action(
      withSession(cli, async (session) => {
        const answer = await session.call(DeviceService.method.listDeviceTypes, {});
        session.print(ListDeviceTypesResponseSchema, answer, () =>
          renderTable(
            session.terminal,
            [
              { title: "type", text: ({ name }) => cleanText(name) },
              { title: "devices", text: ({ deviceCount }) => String(deviceCount), align: "right" },
              {
                title: "expected every",
                text: ({ expectedInterval }) => durationText(expectedInterval),
                align: "right",
              },
              { title: "since", text: ({ updateTime }) => timeText(updateTime) },
            ],
            answer.deviceTypes,
          ),
        );
      }),
    );
  types
    .command("expect")
    .argument("<type>", "the device type")
    .argument("<interval>", INTERVAL, parseInterval)
    .description("Say how often devices of a type are expected, if they do not say so themselves")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, name: string, intervalMs: number, options: { reason?: string }) => {
        const { type } = await session.call(DeviceService.method.updateDeviceType, {
          name,
          expectedInterval: durationFromMs(intervalMs),
          reason: options.reason ?? "",
        });
        if (type === undefined) return;
        const { expectedInterval } = type;
        session.print(DeviceTypeSchema, type, () =>
          expectedInterval === undefined
            ? `Nobody says any more how often devices of type ${cleanText(name)} are expected.`
            : `Devices of type ${cleanText(name)} are expected every ${durationText(expectedInterval)}.`,
        );
      }),
    );
}

/** `device expect`: the same for one device. */
export function addDeviceExpectCommand(device: Command, cli: Cli): void {
  device
    .command("expect")
    .argument("<device>", "the device: its id or serial number")
    .argument("<interval>", INTERVAL, parseInterval)
    .description("Say how often a device is expected, whatever it says itself")
    .action(
      withSession(cli, async (session, reference: string, intervalMs: number) => {
        const answer = await session.call(DeviceService.method.updateDevice, {
          id: await deviceId(session, reference),
          expectedInterval: durationFromMs(intervalMs),
        });
        const { device: changed } = answer;
        if (changed === undefined) return;
        session.print(
          DeviceSchema,
          changed,
          () => `${cleanText(changed.serialNumber)} is expected ${expectedText(changed)}.`,
        );
      }),
    );
}

/** How often a device is expected, and who says so. */
export function expectedText({ expectedInterval, expectedIntervalSource }: Device): string {
  const source = sources[expectedIntervalSource];
  return `every ${durationText(expectedInterval)}${source === undefined ? "" : `, ${source}`}`;
}

const INTERVAL = "how often, for example 90s or 1d, up to 30d; 'none' takes what was said away";

function parseInterval(text: string): number {
  return text === "none" ? 0 : parseDurationMs(text);
}

const sources: Readonly<Partial<Record<ExpectedIntervalSource, string>>> = {
  [ExpectedIntervalSource.OPERATOR]: "as an operator said of it",
  [ExpectedIntervalSource.DEVICE]: "as it says itself",
  [ExpectedIntervalSource.DEVICE_TYPE]: "as is said of its type",
  [ExpectedIntervalSource.SETTING]: "by the service's setting",
};
