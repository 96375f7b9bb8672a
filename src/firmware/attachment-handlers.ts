import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { apiCalls, clientStream, type Endpoint, serverStream, unary } from "../api/pipeline/endpoint.ts";
import { uploadedData } from "../api/pipeline/uploaded-data.ts";
import { actorOf } from "../call/identity.ts";
import { invalidArgument } from "../errors.ts";
import type { FirmwareAttachments } from "./firmware-attachments.ts";
import { toAttachmentMessage, toFirmwareMessage } from "./firmware-messages.ts";

/** The endpoints of FirmwareService for the files beside firmware. */
export function attachmentEndpoints(attachments: FirmwareAttachments): Endpoint[] {
  const { method } = FirmwareService;
  return [
    clientStream(method.attachFirmwareFile, apiCalls, async (requests, { identity, signal }) => {
      const iterator = requests[Symbol.asyncIterator]();
      const first = await iterator.next();
      const { id, fileName } = first.done === true ? { id: "", fileName: "" } : first.value;
      if (first.done === true || id === "") throw invalidArgument("id", "is required in the first message");
      const caller = { actor: actorOf(identity), signal };
      const { firmware, attachment, unchanged } = await attachments.attach(
        id,
        fileName,
        uploadedData(first, iterator),
        caller,
      );
      return {
        firmware: toFirmwareMessage(firmware),
        attachment: toAttachmentMessage(attachment),
        unchanged,
      };
    }),

    unary(method.detachFirmwareFile, apiCalls, async ({ id, attachmentId }, { identity }) => ({
      firmware: toFirmwareMessage(await attachments.detach(id, attachmentId, { actor: actorOf(identity) })),
    })),

    serverStream(
      method.downloadFirmwareAttachment,
      apiCalls,
      async function* ({ id, attachmentId }, { signal }) {
        const { content } = await attachments.open(id, attachmentId, signal);
        for await (const read of content) {
          const piece = read as Buffer;
          for (let offset = 0; offset < piece.length; offset += pieceBytes) {
            yield { data: new Uint8Array(piece.subarray(offset, offset + pieceBytes)) };
          }
        }
      },
    ),
  ];
}

/** As the contract says of an answer. */
const pieceBytes = 64 * 1024;
