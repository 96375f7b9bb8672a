import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import type { Firmware } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import type { Session } from "./session.ts";

/**
 * People name things as they know them; the contract knows ids. Every command takes either: firmware as
 * `product@version`, a device by its serial number, a rollout as `latest` or by its firmware (the newest rollout of it).
 */

/** What a command says of an argument that {@link rolloutId} takes. */
export const rolloutReference = "the rollout: its id, `latest`, or product@version";

/** The id of the firmware that a text names: a UUID or `product@version`. */
export async function firmwareId(session: Session, reference: string): Promise<string> {
  return isUuid(reference) ? reference : (await findFirmware(session, reference)).id;
}

/** A version that a text names, whether the catalogue has it or not: by the UUID of its firmware or as `product@version`. */
export function versionNamed(
  reference: string,
): { readonly id: string } | { readonly product: string; readonly version: string } {
  return isUuid(reference) ? { id: reference } : productAndVersion(reference);
}

/** The id of the rollout that a text names: a UUID, `latest`, or `product@version`. */
export async function rolloutId(session: Session, reference: string): Promise<string> {
  if (isUuid(reference)) return reference;
  const ofFirmware = reference === "latest" ? "" : (await findFirmware(session, reference)).id;
  const { rollouts } = await session.call(RolloutService.method.listRollouts, {
    pageSize: 1,
    firmwareId: ofFirmware,
  });
  const [newest] = rollouts;
  if (newest === undefined) {
    throw new CliError(
      exitCodes.notFound,
      reference === "latest" ? "there is no rollout yet" : `there is no rollout of ${reference}`,
      "List them with `device-ota rollout list`; deploy a firmware with `device-ota firmware deploy`.",
    );
  }
  return newest.id;
}

/** The id of the device that a text names: a UUID or a serial number. */
export async function deviceId(session: Session, reference: string): Promise<string> {
  if (isUuid(reference)) return reference;
  // A longer serial number may begin with this one, so the first hit need not be it.
  let pageToken = "";
  do {
    const page = await session.call(DeviceService.method.listDevices, {
      serialNumberPrefix: reference,
      showRetired: true,
      pageSize: 1000,
      pageToken,
    });
    const found = page.devices.find(({ serialNumber }) => serialNumber === reference);
    if (found !== undefined) return found.id;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  throw new CliError(
    exitCodes.notFound,
    `no device has the serial number ${reference}`,
    "List them with `device-ota device list`.",
  );
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

function productAndVersion(reference: string): { readonly product: string; readonly version: string } {
  const at = reference.lastIndexOf("@");
  if (at < 1) {
    throw new CliError(exitCodes.usage, `"${reference}" is neither an id nor product@version`);
  }
  return { product: reference.slice(0, at), version: reference.slice(at + 1) };
}

async function findFirmware(session: Session, reference: string): Promise<Firmware> {
  const { product, version } = productAndVersion(reference);
  const { firmware } = await session.call(FirmwareService.method.listFirmware, {
    product,
    version,
    pageSize: 1,
  });
  const [found] = firmware;
  if (found === undefined) {
    throw new CliError(
      exitCodes.notFound,
      `there is no firmware ${reference}`,
      "List them with `device-ota firmware list`.",
    );
  }
  return found;
}
