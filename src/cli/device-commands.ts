import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type Device,
  DeviceSchema,
  Presence,
  PresenceSchema,
  Standing,
  StandingSchema,
  UpdatePin,
  UpdatePinSchema,
} from "../../gen/ota/v1/device_pb.js";
import {
  DeviceService,
  GetDeviceStatusOverviewResponseSchema,
  ListDevicesResponseSchema,
} from "../../gen/ota/v1/device_service_pb.js";
import { type Heartbeat, NetworkTypeSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  HeartbeatService,
  ListHeartbeatsResponseSchema,
  type ReceivedHeartbeat,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { addDeviceAdmissionCommands } from "./device-admission-commands.ts";
import { addDeviceImportCommand } from "./device-import-command.ts";
import { addDeviceInventoryCommands } from "./device-inventory-commands.ts";
import { addDeviceExpectCommand, expectedText } from "./expected-interval-commands.ts";
import { required } from "./failure.ts";
import { renderOverview, watchFleet } from "./fleet-view.ts";
import {
  agoText,
  bytesText,
  cleanText,
  durationText,
  enumText,
  listText,
  percentText,
  timeText,
} from "./format.ts";
import { troubleFacts, troubleText } from "./heartbeat-trouble.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { collectList, collectNames, parseSince } from "./parse.ts";
import { deviceId } from "./references.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import { addTelemetryCommands } from "./telemetry-commands.ts";
import type { Terminal, Tone } from "./terminal.ts";

/** `device …`, `fleet …` and `heartbeat …`: who is out there, and how they are. */
export function addDeviceCommands(program: Command, cli: Cli): void {
  const device = program.command("device").description("The devices: what they are and what they last said");
  device
    .command("list")
    .description("List devices, newest first")
    .option("--device-type <names>", "only these device types", collectNames)
    .option("--model <names>", "only these hardware models", collectNames)
    .option("--group <names>", "only devices in one of these groups", collectList)
    .option("--firmware-version <versions>", "only devices that run one of these", collectList)
    .option("--serial <prefix>", "only serial numbers that start with this")
    .option("--retired", "also list retired devices")
    .option("--filter <filter>", "only devices that match, for example 'battery_percent < 20 groups:berlin'")
    .option(
      "--order-by <order>",
      "create_time, serial_number, last_seen_time or battery_percent, with or without desc",
    )
    .addOption(limitOption())
    .action(withSession(cli, listDevices));
  device
    .command("show")
    .argument("<device>", REFERENCE)
    .description("Show one device with its newest heartbeat")
    .action(
      withSession(cli, async (session, reference: string) => {
        const answer = await session.call(DeviceService.method.getDevice, {
          id: await deviceId(session, reference),
        });
        printDevice(session, answer.device);
      }),
    );
  device
    .command("retire")
    .argument("<device>", REFERENCE)
    .description("Take a device out of service: its credentials stop working, its update is cancelled")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, options: { reason?: string }) => {
        const id = await deviceId(session, reference);
        const answer = await session.call(DeviceService.method.retireDevice, {
          id,
          reason: options.reason ?? "",
        });
        printDevice(session, answer.device);
        session.noteUnchanged(answer.unchanged, "it was retired already");
      }),
    );
  addDeviceAdmissionCommands(device, cli);
  addDeviceExpectCommand(device, cli);
  addDeviceInventoryCommands(device, cli);
  addDeviceImportCommand(device, cli);
  addTelemetryCommands(device, cli);

  const fleet = program.command("fleet").description("The fleet at a glance");
  fleet
    .command("watch")
    .description("Follow the fleet: its numbers, and which devices come and go; until interrupted")
    .action(withSession(cli, watchFleet));
  fleet
    .command("status", { isDefault: true })
    .description("How many devices are online, and which versions they run")
    .action(
      withSession(cli, async (session) => {
        const overview = await session.call(DeviceService.method.getDeviceStatusOverview, {});
        session.print(GetDeviceStatusOverviewResponseSchema, overview, () =>
          renderOverview(session.terminal, overview),
        );
      }),
    );

  program
    .command("heartbeat")
    .description("What devices sent")
    .command("list")
    .argument("<device>", REFERENCE)
    .description("List a device's heartbeats, newest received first")
    .option(
      "--since <time>",
      "received at or after this: a time, or such as 1h for the last hour",
      parseSince,
    )
    .option("--until <time>", "received before this", parseSince)
    .addOption(limitOption())
    .action(withSession(cli, listHeartbeats));
}

const REFERENCE = "the device: its id or serial number";

async function listDevices(
  session: Session,
  options: {
    limit: number;
    deviceType?: string[];
    model?: string[];
    group?: string[];
    firmwareVersion?: string[];
    serial?: string;
    retired?: boolean;
    filter?: string;
    orderBy?: string;
  },
): Promise<void> {
  const filter = {
    deviceTypes: options.deviceType ?? [],
    hardwareModels: options.model ?? [],
    groups: options.group ?? [],
    firmwareVersions: options.firmwareVersion ?? [],
    serialNumberPrefix: options.serial ?? "",
    showRetired: options.retired === true,
    filter: options.filter ?? "",
    orderBy: options.orderBy ?? "",
  };
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(DeviceService.method.listDevices, { ...filter, ...page });
    return { items: answer.devices, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListDevicesResponseSchema, { devices: items, nextPageToken });
  session.print(ListDevicesResponseSchema, answer, () =>
    items.length === 0 ? "No devices." : renderDevices(session.terminal, items, Date.now()),
  );
  noteMore(session, nextPageToken);
}

async function listHeartbeats(
  session: Session,
  reference: string,
  options: { limit: number; since?: Timestamp; until?: Timestamp },
): Promise<void> {
  const filter = {
    deviceId: await deviceId(session, reference),
    ...(options.since === undefined ? {} : { startTime: options.since }),
    ...(options.until === undefined ? {} : { endTime: options.until }),
  };
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(HeartbeatService.method.listHeartbeats, { ...filter, ...page });
    return { items: answer.heartbeats, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListHeartbeatsResponseSchema, { heartbeats: items, nextPageToken });
  session.print(ListHeartbeatsResponseSchema, answer, () =>
    items.length === 0 ? "No heartbeats." : renderHeartbeats(session.terminal, items),
  );
  noteMore(session, nextPageToken);
}

function printDevice(session: Session, answered: Device | undefined): void {
  const device = required(answered, "a device");
  session.print(DeviceSchema, device, () => renderDevice(session.terminal, device, Date.now()));
}

function renderDevices(terminal: Terminal, devices: readonly Device[], nowMs: number): string {
  const columns: Column<Device>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "serial", text: ({ serialNumber }) => cleanText(serialNumber) },
    { title: "type", text: ({ deviceType }) => cleanText(deviceType) },
    { title: "model", text: ({ hardwareModel }) => cleanText(hardwareModel) },
    { title: "version", text: ({ firmwareVersion }) => cleanText(firmwareVersion) || "-" },
    { title: "presence", text: (device) => presenceText(terminal, device) },
    { title: "seen", text: ({ lastSeenTime }) => agoText(lastSeenTime, nowMs) },
    { title: "trouble", text: troubleText },
    { title: "groups", text: ({ groups }) => listText(groups) },
  ];
  return renderTable(terminal, columns, devices);
}

function renderDevice(terminal: Terminal, device: Device, nowMs: number): string {
  const metadata = Object.entries(device.metadata).map(([name, value]) => `${name}=${value}`);
  return renderFacts(terminal, [
    ["device", device.id],
    ["serial", cleanText(device.serialNumber)],
    ["name", device.displayName === "" ? undefined : cleanText(device.displayName)],
    ["type", cleanText(device.deviceType)],
    ["model", cleanText(device.hardwareModel)],
    ["product", device.product === "" ? undefined : cleanText(device.product)],
    ["groups", listText(device.groups)],
    ["tags", device.tags.length === 0 ? undefined : listText(device.tags)],
    [
      "pin",
      device.updatePin === UpdatePin.UNSPECIFIED ? undefined : enumText(UpdatePinSchema, device.updatePin),
    ],
    [
      "standing",
      device.standing === Standing.ADMITTED ? undefined : enumText(StandingSchema, device.standing),
    ],
    [
      "clone suspected",
      device.cloneSuspectedTime === undefined ? undefined : `since ${timeText(device.cloneSuspectedTime)}`,
    ],
    [
      "another token",
      device.tokenRotationRequestedTime === undefined
        ? undefined
        : `asked for since ${timeText(device.tokenRotationRequestedTime)}`,
    ],
    ["version", cleanText(device.firmwareVersion) || "-"],
    ["security counter", String(device.securityCounter)],
    ["update", device.openUpdateId === "" ? "none under way" : device.openUpdateId],
    ["presence", presenceText(terminal, device)],
    ["expected", expectedText(device)],
    ["last seen", `${timeText(device.lastSeenTime)} (${agoText(device.lastSeenTime, nowMs)})`],
    ...(device.lastHeartbeat === undefined ? [] : heartbeatFacts(device.lastHeartbeat)),
    ...troubleFacts(device),
    ["metadata", metadata.length === 0 ? undefined : listText(metadata)],
    ["enrolled", timeText(device.createTime)],
    ["may enrol until", device.enrolUntilTime === undefined ? undefined : timeText(device.enrolUntilTime)],
    ["retired", device.retireTime === undefined ? undefined : timeText(device.retireTime)],
  ]);
}

function heartbeatFacts(heartbeat: Heartbeat): [string, string | undefined][] {
  const { network, location } = heartbeat;
  return [
    [
      "boot",
      heartbeat.bootId === ""
        ? undefined
        : `${cleanText(heartbeat.bootId)}, up ${durationText(heartbeat.uptime)}`,
    ],
    ["battery", batteryText(heartbeat)],
    ["cpu", optionalPercent(heartbeat.cpuPercent)],
    ["memory", optionalPercent(heartbeat.memoryPercent)],
    [
      "storage free",
      heartbeat.storageFreeBytes === undefined ? undefined : bytesText(heartbeat.storageFreeBytes),
    ],
    [
      "temperature",
      heartbeat.temperatureCelsius === undefined
        ? undefined
        : `${heartbeat.temperatureCelsius.toFixed(1)} °C`,
    ],
    [
      "location",
      location === undefined
        ? undefined
        : `${location.latitude.toFixed(5)}, ${location.longitude.toFixed(5)}`,
    ],
    [
      "network",
      network === undefined
        ? undefined
        : [
            enumText(NetworkTypeSchema, network.type),
            network.signalDbm === undefined ? "" : `${network.signalDbm} dBm`,
            cleanText(network.carrier),
          ]
            .filter((text) => text !== "")
            .join(", "),
    ],
  ];
}

function renderHeartbeats(terminal: Terminal, heartbeats: readonly ReceivedHeartbeat[]): string {
  const columns: Column<ReceivedHeartbeat>[] = [
    { title: "received", text: ({ receiveTime }) => timeText(receiveTime) },
    { title: "seq", text: ({ heartbeat }) => String(heartbeat?.sequence ?? ""), align: "right" },
    { title: "version", text: ({ heartbeat }) => cleanText(heartbeat?.firmwareVersion ?? "") },
    { title: "up", text: ({ heartbeat }) => durationText(heartbeat?.uptime), align: "right" },
    {
      title: "battery",
      text: ({ heartbeat }) => (heartbeat && batteryText(heartbeat)) ?? "-",
      align: "right",
    },
    { title: "cpu", text: ({ heartbeat }) => optionalPercent(heartbeat?.cpuPercent) ?? "-", align: "right" },
    {
      title: "memory",
      text: ({ heartbeat }) => optionalPercent(heartbeat?.memoryPercent) ?? "-",
      align: "right",
    },
    {
      title: "errors",
      text: ({ heartbeat }) =>
        (heartbeat?.errors ?? [])
          .map(({ code, fatal }) => `${cleanText(code)}${fatal ? " (fatal)" : ""}`)
          .join(", "),
    },
  ];
  return renderTable(terminal, columns, heartbeats);
}

function presenceText(terminal: Terminal, device: Device): string {
  if (device.retireTime !== undefined) return terminal.paint("dim", "retired");
  return terminal.paint(PRESENCE_TONES[device.presence] ?? "dim", enumText(PresenceSchema, device.presence));
}

function batteryText(heartbeat: Heartbeat): string | undefined {
  if (heartbeat.batteryPercent === undefined) return undefined;
  return `${heartbeat.batteryPercent.toFixed(0)} %${heartbeat.charging === true ? " charging" : ""}`;
}

function optionalPercent(value: number | undefined): string | undefined {
  return value === undefined ? undefined : percentText(Math.round(value * 10) / 10);
}

const PRESENCE_TONES: Readonly<Partial<Record<Presence, Tone>>> = {
  [Presence.ONLINE]: "green",
  [Presence.LATE]: "yellow",
  [Presence.OFFLINE]: "red",
};
