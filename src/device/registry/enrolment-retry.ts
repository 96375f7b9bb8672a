import { invalidArgument } from "../../errors.ts";
import { areDifferent } from "../../infra/database/request-digest.ts";
import type { DeviceRow } from "../state/device.entity.ts";

/** By what a repeat of an enrolment is known. */
export interface EnrolmentMark {
  readonly requestId: string;
  /** From which address it came. */
  readonly source: string;
  /** Of all that the device said. */
  readonly digest: Uint8Array;
  readonly at: Date;
}

/**
 * Whether an enrolment is that of a device whose answer got lost: the same again, by the same key (or by certificate), from the same address and
 * soon after. The request id alone would be a secret that takes the identity over for ever. Throws `REQUEST_ID_REUSED` for a
 * request id that came with something else.
 */
export function isRetry(
  device: DeviceRow,
  attempt: { readonly mark: EnrolmentMark; readonly keyId: string | null; readonly retryMs: number },
): boolean {
  const { mark, keyId, retryMs } = attempt;
  if (device.enrolRequestId !== mark.requestId || device.enrolmentKeyId !== keyId) return false;
  if (device.enrolSource !== mark.source || device.enrolledAt === null || device.enrolDigest === null)
    return false;
  if (mark.at.getTime() - device.enrolledAt.getTime() > retryMs) return false;
  if (areDifferent(device.enrolDigest, mark.digest)) {
    throw invalidArgument("request_id", "came with another enrolment before", "REQUEST_ID_REUSED");
  }
  return true;
}
