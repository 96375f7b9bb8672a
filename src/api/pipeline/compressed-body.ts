import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { OtaError } from "../../errors.ts";

/** The one compression that request bodies may have. */
export const bodyEncoding = "gzip";

/**
 * What a body in gzip holds, of at most `mostBytes`. Throws INVALID_ARGUMENT for what is no gzip, and MESSAGE_TOO_LARGE, without
 * unpacking more than that, for what holds more.
 */
export async function inflated(body: Uint8Array, mostBytes: number): Promise<Uint8Array> {
  try {
    return await unpack(body, { maxOutputLength: mostBytes });
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") {
      throw new OtaError(
        "resource_exhausted",
        "MESSAGE_TOO_LARGE",
        `the request unpacks to more than ${mostBytes} bytes`,
        { metadata: { httpStatus: "413" }, cause },
      );
    }
    throw new OtaError("invalid_argument", "INVALID_REQUEST", "the request is not valid gzip", { cause });
  }
}

const unpack = promisify(gunzip);
