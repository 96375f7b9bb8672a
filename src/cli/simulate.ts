import { randomUUID as newRequestId } from "node:crypto";
import { readFile } from "node:fs/promises";
import { pino } from "pino";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FleetSimulator, type FleetSnapshot } from "../agent/fleet-simulator.ts";
import { CliError, exitCodes } from "./failure.ts";
import { LiveView } from "./live-view.ts";
import { bar, ratio } from "./rollout-view.ts";
import type { Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** What the devices are, and how they misbehave. Shares are in percent, times in milliseconds. */
export interface SimulateOptions {
  readonly count: number;
  readonly enrolmentKey?: string;
  readonly trustedKey?: string[];
  readonly allowUnsigned: boolean;
  readonly firmwareVersion: string;
  readonly model?: string[];
  readonly heartbeatInterval?: number;
  readonly crash: Record<string, number>;
  readonly failing: number;
  readonly reverting: number;
  readonly silent: number;
  readonly late: number;
  readonly lateAfter: number;
  readonly drifting: number;
  readonly driftAfter: number;
  readonly slow: number;
  readonly offline: number;
  readonly seed: number;
  readonly for?: number;
}

/** Lets devices join the service, and shows them until the signal. */
export async function simulate(session: Session, options: SimulateOptions): Promise<void> {
  const end = options.for === undefined ? undefined : AbortSignal.timeout(options.for);
  const signal = end === undefined ? session.signal : AbortSignal.any([session.signal, end]);
  const enrolmentKey = options.enrolmentKey ?? (await createEnrolmentKey(session, options.count));
  const trustedKeys = await keysToTrust(session, options.trustedKey);
  session.terminal.note(`Enrolling ${options.count} devices at ${session.connection.address} …`);
  await using fleet = await FleetSimulator.start({
    ...session.connection,
    enrolmentKey,
    trustedKeys,
    allowUnsigned: options.allowUnsigned,
    count: options.count,
    factoryVersion: options.firmwareVersion,
    seed: options.seed,
    crash: options.crash,
    failureRate: options.failing / 100,
    revertRate: options.reverting / 100,
    silentRate: options.silent / 100,
    lateRate: options.late / 100,
    lateAfterMs: options.lateAfter,
    driftRate: options.drifting / 100,
    driftAfterMs: options.driftAfter,
    slowRate: options.slow / 100,
    offlineRate: options.offline / 100,
    ...(options.model === undefined ? {} : { models: options.model.map(parseModel) }),
    ...(options.heartbeatInterval === undefined ? {} : { heartbeatIntervalMs: options.heartbeatInterval }),
    // A device that has trouble shows in the picture; its log would tear it apart.
    logger: pino({ level: "silent" }),
    signal: session.signal,
  });
  await show(session, fleet, signal);
}

/** Shows the fleet until the signal: redrawn on a terminal, else a line (or a JSON object) when it changed. */
async function show(session: Session, fleet: FleetSimulator, signal: AbortSignal): Promise<void> {
  const { terminal } = session;
  using view = new LiveView(terminal);
  let shown = "";
  const draw = () => {
    const snapshot = fleet.snapshot();
    if (terminal.interactive && !session.json) {
      view.draw([...fleetLines(terminal, snapshot), terminal.paint("dim", "Ctrl-C ends the fleet.")]);
      return;
    }
    const line = session.json ? JSON.stringify(snapshot) : fleetLine(snapshot);
    if (line === shown) return;
    shown = line;
    terminal.out(line);
  };
  draw();
  const timer = setInterval(draw, terminal.interactive ? redrawMs : lineMs);
  try {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  } finally {
    clearInterval(timer);
  }
}

/** How often the picture is renewed, and how often a line is printed at most. */
const redrawMs = 250;
const lineMs = 1000;

function fleetLines(terminal: Terminal, snapshot: FleetSnapshot): string[] {
  const { total, online, heartbeats, crashes, reboots, byVersion, byActivity } = snapshot;
  const activities = Object.entries(byActivity).map(([activity, count]) => `${count} ${activity}`);
  const versions = Object.entries(byVersion)
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(
      ([version, count]) =>
        `  ${version.padEnd(12)} ${bar(terminal, "cyan", ratio(count, total), 36)} ${count}`,
    );
  return [
    `${terminal.paint("bold", `${online} of ${total}`)} devices on a stream · ${heartbeats} heartbeats acknowledged · ${reboots} reboots · ${crashes} crashes`,
    `  ${activities.join(", ")}`,
    ...versions,
  ];
}

function fleetLine({ total, online, byVersion, crashes }: FleetSnapshot): string {
  const versions = Object.entries(byVersion).map(([version, count]) => `${count} on ${version}`);
  return `${online} of ${total} on a stream, ${versions.join(", ")}, ${crashes} crashes`;
}

async function createEnrolmentKey(session: Session, count: number): Promise<string> {
  const { secret } = await session.call(AccessService.method.createEnrolmentKey, {
    requestId: newRequestId(),
    name: "simulated devices",
    maxUses: BigInt(count),
  });
  return secret;
}

async function keysToTrust(session: Session, files: readonly string[] | undefined): Promise<string[]> {
  if (files !== undefined) return Promise.all(files.map((file) => readFile(file, "utf8")));
  const { keys } = await session.call(AccessService.method.listSigningKeys, { pageSize: 1000 });
  return keys.filter(({ revokeTime }) => revokeTime === undefined).map(({ publicKeyPem }) => publicKeyPem);
}

function parseModel(text: string): { deviceType: string; hardwareModel: string } {
  // Of the two only the model is likely to hold a colon.
  const at = text.indexOf(":");
  const deviceType = text.slice(0, Math.max(at, 0));
  const hardwareModel = text.slice(at + 1);
  if (deviceType === "" || hardwareModel === "") {
    throw new CliError(exitCodes.usage, `--model: "${text}" is not type:model`);
  }
  return { deviceType, hardwareModel };
}
