import { create, toJson } from "@bufbuild/protobuf";
import { AttachFirmwareFileResponseSchema, FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import type { RawRoute } from "../api/http/raw-route.ts";
import { bodyOf, fileNameOf } from "../api/http/raw-upload.ts";
import { accessRuleOf } from "../api/pipeline/access-rule.ts";
import { actorOf } from "../call/identity.ts";
import { requireUuid } from "../call/uuid.ts";
import type { FirmwareAttachments } from "./firmware-attachments.ts";
import { toAttachmentMessage, toFirmwareMessage } from "./firmware-messages.ts";

/**
 * `POST /api/v1/firmware/{id}/attachments?fileName=sbom.json` with the file as the body, of any media type, and `GET
 * /api/v1/firmware/{id}/attachments/{attachmentId}`: what `AttachFirmwareFile` and `DownloadFirmwareAttachment` are for those who
 * speak gRPC. Files are served as an attachment of no type that a browser shows.
 */
export function attachmentRoutes(attachments: FirmwareAttachments): RawRoute[] {
  return [
    {
      method: "POST",
      url: "/api/v1/firmware/:id/attachments",
      access: accessRuleOf(FirmwareService.method.attachFirmwareFile),
      rate: "operator",
      bodyLimit: attachments.maxBytes,
      body: "stream",
      handle: async (request, reply, { identity, signal }) => {
        const { id } = request.params as { id: string };
        requireUuid("id", id);
        const caller = { actor: actorOf(identity), signal };
        const { firmware, attachment, unchanged } = await attachments.attach(
          id,
          fileNameOf(request),
          bodyOf(request),
          caller,
        );
        const answer = create(AttachFirmwareFileResponseSchema, {
          firmware: toFirmwareMessage(firmware),
          attachment: toAttachmentMessage(attachment),
          unchanged,
        });
        void reply.code(unchanged ? 200 : 201).type("application/json; charset=utf-8");
        // As the REST door writes its answers: with zeros and empty lists.
        return JSON.stringify(toJson(AttachFirmwareFileResponseSchema, answer, { alwaysEmitImplicit: true }));
      },
    },
    {
      method: "GET",
      url: "/api/v1/firmware/:id/attachments/:attachmentId",
      access: accessRuleOf(FirmwareService.method.downloadFirmwareAttachment),
      rate: "operator",
      handle: async (request, reply, { signal }) => {
        const { id, attachmentId } = request.params as { id: string; attachmentId: string };
        requireUuid("id", id);
        requireUuid("attachmentId", attachmentId);
        const { attachment, content } = await attachments.open(id, attachmentId, signal);
        void reply.headers({
          "content-type": "application/octet-stream",
          "content-length": String(attachment.sizeBytes),
          "x-content-type-options": "nosniff",
          "content-disposition": `attachment; filename="${savedName(attachment)}"`,
          "cache-control": "private, no-store",
          etag: `"${attachment.sha256}"`,
        });
        return content;
      },
    },
  ];
}

/** What an operator wrote must not break out of the header. */
function savedName({ fileName, id, kind }: { fileName: string; id: string; kind: string }): string {
  const plain = fileName.replaceAll(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, "");
  return plain === "" ? `${kind}-${id}` : plain;
}
