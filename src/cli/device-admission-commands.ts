import type { Command } from "commander";
import { DeviceSchema, StandingSchema } from "../../gen/ota/v1/device_pb.js";
import { DeviceService, ResetDeviceCredentialResponseSchema } from "../../gen/ota/v1/device_service_pb.js";
import { required } from "./failure.ts";
import { cleanText, enumText, timeText } from "./format.ts";
import { deviceId } from "./references.ts";
import { type Cli, type Session, withSession } from "./session.ts";

interface Reason {
  readonly reason?: string;
}

/** `device reset`, `reinstate`, `block`, `unblock`, `quarantine` and `approve`: who is let in, and who may come back. */
export function addDeviceAdmissionCommands(device: Command, cli: Cli): void {
  device
    .command("reset")
    .argument("<device>", "the device: its id or serial number")
    .description("Revoke a device's credential; its serial number may enrol once more, for a while")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, { reason = "" }: Reason) => {
        const id = await deviceId(session, reference);
        const answer = await session.call(DeviceService.method.resetDeviceCredential, { id, reason });
        session.print(
          ResetDeviceCredentialResponseSchema,
          answer,
          () => `It has no credential any more, and may enrol once until ${timeText(answer.enrolUntilTime)}.`,
        );
      }),
    );
  device
    .command("reinstate")
    .argument("<device>", "the retired device: its id or serial number")
    .description("Let the serial number of a retired device enrol once more, for a while, as a new device")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, { reason = "" }: Reason) => {
        const id = await deviceId(session, reference);
        const answer = await session.call(DeviceService.method.reinstateDevice, { id, reason });
        const reinstated = required(answer.device, "a device");
        session.print(DeviceSchema, reinstated, () => {
          const until = timeText(reinstated.enrolUntilTime);
          return `${cleanText(reinstated.serialNumber)} may enrol once until ${until}.`;
        });
      }),
    );
  for (const { name, description, call, unchanged } of standingVerbs) {
    device
      .command(name)
      .argument("<device>", "the device: its id or serial number")
      .description(description)
      .option("--reason <text>", "why, for the audit log")
      .action(
        withSession(cli, async (session, reference: string, { reason = "" }: Reason) => {
          const answer = await call(session, { id: await deviceId(session, reference), reason });
          const changed = required(answer.device, "a device");
          session.print(DeviceSchema, changed, () => {
            const standing = enumText(StandingSchema, changed.standing);
            return `${cleanText(changed.serialNumber)} is ${standing}.`;
          });
          session.noteUnchanged(answer.unchanged, unchanged);
        }),
      );
  }
}

interface DeviceVerb {
  readonly id: string;
  readonly reason: string;
}

const standingVerbs = [
  {
    name: "block",
    description: "Let nothing of a device in: its streams end, its credential and enrolments are refused",
    call: (session: Session, request: DeviceVerb) => session.call(DeviceService.method.blockDevice, request),
    unchanged: "it was blocked already",
  },
  {
    name: "unblock",
    description: "Let a blocked device in again",
    call: (session: Session, request: DeviceVerb) =>
      session.call(DeviceService.method.unblockDevice, request),
    unchanged: "it was not blocked",
  },
  {
    name: "quarantine",
    description: "Hear a device, and offer it nothing until it is approved",
    call: (session: Session, request: DeviceVerb) =>
      session.call(DeviceService.method.quarantineDevice, request),
    unchanged: "it was in quarantine already",
  },
  {
    name: "approve",
    description: "Take a device out of quarantine, or clear that it is suspected to have a clone",
    call: (session: Session, request: DeviceVerb) =>
      session.call(DeviceService.method.approveDevice, request),
    unchanged: "it was neither in quarantine nor suspected",
  },
] as const;
