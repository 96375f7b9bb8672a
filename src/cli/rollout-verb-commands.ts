import type { Command } from "commander";
import { type DeviceUpdate, DeviceUpdateSchema, type VerbEffect } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { deviceId, firmwareId, rolloutId, rolloutReference } from "./references.ts";
import { printSteered, type SteeredRollout } from "./rollout-output.ts";
import { renderDeviceUpdates } from "./rollout-view.ts";
import { noteWarnings } from "./rollout-warnings.ts";
import { type Cli, type Session, withSession } from "./session.ts";

const { method } = RolloutService;

/** `rollout start`, `promote`, `pause` and so on: each prints the rollout or the device's update, and what it changed. */
export function addRolloutVerbs(rollout: Command, cli: Cli): void {
  rollout
    .command("start")
    .argument("<rollout>", rolloutReference)
    .description("Start a draft: opens its first ring")
    .action(
      withSession(cli, async (session, reference: string) => {
        const id = await rolloutId(session, reference);
        const answer = await session.call(method.startRollout, { id });
        noteWarnings(session, answer.warnings);
        printSteered(session, answer);
      }),
    );
  rollout
    .command("promote")
    .argument("<rollout>", rolloutReference)
    .description("Open the next ring now, whether or not the gate holds")
    .option("--ring <ring>", "open every ring up to this one")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, options: { ring?: string; reason?: string }) => {
        const id = await rolloutId(session, reference);
        const request = { id, ring: options.ring ?? "", reason: options.reason ?? "" };
        printSteered(session, await session.call(method.promoteRollout, request));
      }),
    );
  const verbs: [name: string, verb: Verb, description: string][] = [
    [
      "pause",
      (session, request) => session.call(method.pauseRollout, request),
      "Stop making offers; devices that are updating go on",
    ],
    ["resume", (session, request) => session.call(method.resumeRollout, request), "Make offers again"],
    [
      "abort",
      (session, request) => session.call(method.abortRollout, request),
      "Stop for good where it stands; nothing is rolled back",
    ],
  ];
  rollout
    .command("approve")
    .argument("<rollout>", rolloutReference)
    .description("Let a ring open that needs an approval; not for who created the rollout")
    .option("--ring <ring>", "this ring, by default the next one that needs it")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, options: { ring?: string; reason?: string }) => {
        const id = await rolloutId(session, reference);
        const request = { id, ring: options.ring ?? "", reason: options.reason ?? "" };
        printSteered(session, await session.call(method.approveRollout, request));
      }),
    );
  rollout
    .command("rollback")
    .argument("<rollout>", rolloutReference)
    .description("Roll the update back: from every device that took it, from one ring, or from one device")
    .option("--ring <ring>", "only the devices of this ring; pauses the rollout")
    .option("--device <device>", "only this device: its id or serial number")
    .option("--to <firmware>", "go back to this firmware, not to what each device came from")
    .option("--reason <text>", "why, for the audit log")
    .action(withSession(cli, rollBack));
  rollout
    .command("retry")
    .argument("<rollout>", rolloutReference)
    .argument("<device>", "the device: its id or serial number")
    .description("Let a device try again whose update failed, or that fell back by itself")
    .option("--reinstall", "also if it runs the version: it installs the same again")
    .option("--reason <text>", "why, for the audit log")
    .action(withSession(cli, retry));
  for (const [name, verb, description] of verbs) {
    rollout
      .command(name)
      .argument("<rollout>", rolloutReference)
      .description(description)
      .option("--reason <text>", "why, for the audit log")
      .action(
        withSession(cli, async (session, reference: string, options: { reason?: string }) => {
          const request = { id: await rolloutId(session, reference), reason: options.reason ?? "" };
          printSteered(session, await verb(session, request));
        }),
      );
  }
}

type Verb = (session: Session, request: { id: string; reason: string }) => Promise<SteeredRollout>;

async function retry(
  session: Session,
  reference: string,
  device: string,
  { reinstall = false, reason = "" }: { readonly reinstall?: boolean; readonly reason?: string },
): Promise<void> {
  const id = await rolloutId(session, reference);
  const request = { id, deviceId: await deviceId(session, device), reinstall, reason };
  printDeviceUpdate(session, await session.call(RolloutService.method.retryDevice, request));
}

async function rollBack(
  session: Session,
  reference: string,
  options: { ring?: string; device?: string; to?: string; reason?: string },
): Promise<void> {
  const { ring, device, to } = options;
  if ([ring, device, to].filter((option) => option !== undefined).length > 1) {
    throw new CliError(exitCodes.usage, "give only one of --ring, --device and --to");
  }
  const call = { id: await rolloutId(session, reference), reason: options.reason ?? "" };
  if (device !== undefined) {
    const request = { ...call, deviceId: await deviceId(session, device) };
    return printDeviceUpdate(session, await session.call(method.rollbackDevice, request));
  }
  if (ring !== undefined) {
    return printSteered(session, await session.call(method.rollbackRing, { ...call, ring }));
  }
  const request = { ...call, firmwareId: to === undefined ? "" : await firmwareId(session, to) };
  printSteered(session, await session.call(method.rollbackRollout, request));
}

function printDeviceUpdate(
  session: Session,
  { deviceUpdate, effect }: { deviceUpdate?: DeviceUpdate | undefined; effect?: VerbEffect | undefined },
): void {
  if (deviceUpdate === undefined)
    throw new CliError(exitCodes.failure, "the service answered without a device update");
  session.printEffect(DeviceUpdateSchema, deviceUpdate, effect, () =>
    renderDeviceUpdates(session.terminal, [deviceUpdate], Date.now()),
  );
}
