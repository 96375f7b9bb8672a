import { PresenceSchema } from "../../gen/ota/v1/device_pb.js";
import {
  type CountByName,
  DeviceService,
  type GetDeviceStatusOverviewResponse,
  type PresenceChange,
  WatchFleetResponseSchema,
} from "../../gen/ota/v1/device_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText, enumText, timeText } from "./format.ts";
import { LiveView } from "./live-view.ts";
import { bar, ratio } from "./rollout-view.ts";
import { jsonText, type Session } from "./session.ts";
import type { Terminal, Tone } from "./terminal.ts";

/** Follows the fleet until the caller interrupts: a picture on a terminal, else a line for each device that comes or goes. */
export async function watchFleet(session: Session): Promise<void> {
  const { terminal } = session;
  using view = new LiveView(terminal);
  let recent: readonly string[] = [];
  for await (const message of session.stream(DeviceService.method.watchFleet, {})) {
    const changes = message.presenceChanges.map(changeLine);
    recent = [...recent, ...changes].slice(-maxRecent);
    if (session.json) terminal.out(jsonText(WatchFleetResponseSchema, message));
    else if (!terminal.interactive) for (const line of changes) terminal.out(line);
    else if (message.overview !== undefined) {
      const numbers = renderOverview(terminal, message.overview).split("\n");
      view.draw([...numbers, "", ...recent.map((line) => `  ${line}`)]);
    }
  }
  session.signal.throwIfAborted();
  throw new CliError(exitCodes.unavailable, "the service ended the watch");
}

function changeLine(change: PresenceChange): string {
  const [before, now] = [change.previousPresence, change.presence].map((each) =>
    enumText(PresenceSchema, each),
  );
  return `${timeText(change.changeTime)}  ${change.deviceId}  ${before} -> ${now}`;
}

/** Changes that are shown below the numbers. */
const maxRecent = 10;

/** The fleet's numbers, for people. */
export function renderOverview(terminal: Terminal, overview: GetDeviceStatusOverviewResponse): string {
  const total = overview.totalCount;
  const presence: [string, bigint, Tone][] = [
    ["online", overview.onlineCount, "green"],
    ["late", overview.lateCount, "yellow"],
    ["offline", overview.offlineCount, "red"],
    ["never seen", overview.unknownCount, "dim"],
  ];
  const lines = [
    `${terminal.paint("bold", String(total))} devices, ${overview.streamingCount} on a stream, ${overview.updatingCount} taking an update, ${overview.heartbeatsPerSecond.toFixed(1)} heartbeats/s`,
    "",
    ...presence.map(([name, count, tone]) => shareLine(terminal, tone, name, count, total)),
    ...breakdown(terminal, "versions", overview.firmwareVersions, total),
    ...breakdown(terminal, "types", overview.deviceTypes, total),
    ...breakdown(terminal, "networks", overview.networkTypes.map(networkCount), total),
  ];
  return lines.join("\n");
}

function breakdown(
  terminal: Terminal,
  title: string,
  counts: readonly CountByName[],
  total: bigint,
): string[] {
  if (counts.length === 0) return [];
  const lines = counts.map(({ name, count }) =>
    shareLine(terminal, "cyan", cleanText(name) || "unknown", count, total),
  );
  return ["", terminal.paint("bold", title), ...lines];
}

function shareLine(terminal: Terminal, tone: Tone, name: string, count: bigint, total: bigint): string {
  return `  ${name.padEnd(20)} ${bar(terminal, tone, ratio(count, total), 24)} ${String(count).padStart(7)}`;
}

function networkCount({ name, count }: CountByName): CountByName {
  return { name: name.replace("NETWORK_TYPE_", "").toLowerCase(), count } as CountByName;
}
