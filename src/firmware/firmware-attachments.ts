import { Readable } from "node:stream";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../access/audit-log.ts";
import type { Actor } from "../call/cause.ts";
import { notFound, OtaError } from "../errors.ts";
import { settledContent } from "../infra/database/content-lock.ts";
import type { Database } from "../infra/database/database.ts";
import { uploadIdleLimit, withIdleLimit } from "../infra/objects/idle-limit.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { type AttachmentFormat, attachmentFormat, maxAttachments } from "../manifest/attachment.ts";
import type { Firmware } from "./firmware.ts";
import { FirmwareAttachmentEntity, type FirmwareAttachmentRow } from "./firmware-attachment.entity.ts";
import { firmwareOf, lockFirmware } from "./firmware-rows.ts";
import { immutable } from "./firmware-rules.ts";
import type { FirmwareUpdateRow } from "./firmware-update.entity.ts";
import type { SignOff } from "./sign-off.ts";

/** What {@link FirmwareAttachments} are made of. */
export interface FirmwareAttachmentsParts {
  readonly database: Pick<Database, "em" | "pool" | "transact">;
  readonly audit: AuditLog;
  readonly store: Pick<ObjectStore, "put" | "read" | "stat">;
  readonly signOff: Pick<SignOff, "discard">;
  /** The most bytes of one file: as many are held in memory while it comes, and read at once. */
  readonly maxBytes: number;
}

/** A firmware with the file that was just put beside it. */
export interface Attached {
  readonly firmware: Firmware;
  readonly attachment: FirmwareAttachmentRow;
  /** Whether it was there already. */
  readonly unchanged: boolean;
}

/** A file to be sent. */
export interface OpenAttachment {
  readonly attachment: FirmwareAttachmentRow;
  readonly content: Readable;
}

/**
 * Files beside firmware. They change what is signed, so they come before the release, and signatures of before are discarded.
 *
 * Their bytes stay in the store when they are taken away: the same bytes may lie beside another firmware, or be the content of one. What
 * nothing names any more is collected.
 */
export class FirmwareAttachments {
  readonly #parts: FirmwareAttachmentsParts;
  #receiving = 0;

  constructor(parts: FirmwareAttachmentsParts) {
    this.#parts = parts;
  }

  /** The most bytes of one file. */
  get maxBytes(): number {
    return this.#parts.maxBytes;
  }

  /**
   * Puts a file beside a firmware; the same bytes again change nothing. `INVALID_ATTACHMENT` for a format that is not known,
   * `SIZE_MISMATCH` for too many bytes, `FIRMWARE_IMMUTABLE` once the firmware is released, `TOO_MANY_ATTACHMENTS`, and `QUEUE_FULL`
   * while others upload.
   */
  async attach(
    firmwareId: string,
    fileName: string,
    chunks: AsyncIterable<Uint8Array>,
    { actor, signal }: Actor & { readonly signal: AbortSignal },
  ): Promise<Attached> {
    const { store, maxBytes } = this.#parts;
    if (this.#receiving >= maxReceiving) throw tooManyUploads();
    this.#receiving++;
    try {
      const content = await collected(withIdleLimit(chunks, uploadIdleLimit, signal), maxBytes);
      const format = attachmentFormat(content);
      // Before the store has it, so that whoever may not attach anything leaves nothing there.
      await this.#assertOpen(firmwareId);
      const { sha256, sizeBytes } = await store.put(Readable.from([content]), { maxBytes, signal });
      const attached = await this.#record(firmwareId, { ...format, sha256, sizeBytes, fileName }, actor);
      // Bytes that nothing named before may have been removed in between. From here on they stay.
      await settledContent(this.#parts.database.pool, sha256);
      if ((await store.stat(sha256, signal)) === undefined)
        await store.put(Readable.from([content]), { maxBytes, signal });
      return attached;
    } finally {
      this.#receiving--;
    }
  }

  /** Takes a file away; errors as {@link attach}, and `NOT_FOUND`. */
  async detach(firmwareId: string, attachmentId: string, { actor }: Actor): Promise<Firmware> {
    const { database, audit } = this.#parts;
    return await database.transact(async (em) => {
      const row = await lockFirmware(em, firmwareId);
      const attachment = await em.findOne(FirmwareAttachmentEntity, { id: attachmentId, firmwareId });
      if (attachment === null) throw notFound("attachment", attachmentId);
      const discarded = await this.#discardSignatures(em, row);
      em.remove(attachment);
      await audit.record(em, {
        actor,
        action: "firmware.detach",
        resourceType: "firmware",
        resourceId: firmwareId,
        reason: "",
        details: { ...detailsOf(attachment), discarded_signatures: String(discarded) },
      });
      await em.flush();
      return await loaded(em, row);
    });
  }

  /** Opens a file of a firmware, deleted or not. `NOT_FOUND`. The reader must consume or destroy it. */
  async open(firmwareId: string, attachmentId: string, signal: AbortSignal): Promise<OpenAttachment> {
    const em = this.#parts.database.em();
    const attachment = await em.findOne(FirmwareAttachmentEntity, { id: attachmentId, firmwareId });
    if (attachment === null) throw notFound("attachment", attachmentId);
    return { attachment, content: await this.#parts.store.read(attachment.sha256, { signal }) };
  }

  async #assertOpen(firmwareId: string): Promise<void> {
    await this.#parts.database.transact(async (em) => {
      const row = await lockFirmware(em, firmwareId);
      if (row.state === "RELEASED") throw immutable(row, "attachments");
    });
  }

  #record(
    firmwareId: string,
    file: AttachmentFormat & Pick<FirmwareAttachmentRow, "sha256" | "sizeBytes" | "fileName">,
    actor: string,
  ): Promise<Attached> {
    const { database, audit } = this.#parts;
    return database.transact(async (em) => {
      const row = await lockFirmware(em, firmwareId);
      const known = await em.findOne(FirmwareAttachmentEntity, { firmwareId, sha256: file.sha256 });
      if (known !== null) return { firmware: await loaded(em, row), attachment: known, unchanged: true };
      const discarded = await this.#discardSignatures(em, row);
      if ((await em.count(FirmwareAttachmentEntity, { firmwareId })) >= maxAttachments)
        throw tooMany(firmwareId);
      const attachment = em.create(FirmwareAttachmentEntity, {
        id: uuidv7(),
        firmwareId,
        creator: actor,
        ...file,
      });
      await audit.record(em, {
        actor,
        action: "firmware.attach",
        resourceType: "firmware",
        resourceId: firmwareId,
        reason: "",
        details: { ...detailsOf(file), discarded_signatures: String(discarded) },
      });
      await em.flush();
      await em.refresh(attachment);
      return { firmware: await loaded(em, row), attachment, unchanged: false };
    });
  }

  #discardSignatures(em: EntityManager, row: FirmwareUpdateRow): Promise<number> {
    if (row.state === "RELEASED") throw immutable(row, "attachments");
    return this.#parts.signOff.discard(em, row);
  }
}

/** Two files of the largest size are a bounded part of the service's memory, and more people do not release at once. */
const maxReceiving = 2;

async function collected(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > maxBytes) {
      throw new OtaError(
        "invalid_argument",
        "SIZE_MISMATCH",
        `data: the file is larger than ${maxBytes} bytes`,
        {
          fields: [{ field: "data", description: `must be at most ${maxBytes} bytes` }],
          metadata: { max_bytes: String(maxBytes) },
        },
      );
    }
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

async function loaded(em: EntityManager, row: FirmwareUpdateRow): Promise<Firmware> {
  const [firmware] = await firmwareOf(em, [row]);
  if (firmware === undefined) throw notFound("firmware", row.id);
  return firmware;
}

function detailsOf({ kind, sha256, fileName }: Pick<FirmwareAttachmentRow, "kind" | "sha256" | "fileName">) {
  return { kind, sha256, file_name: fileName };
}

function tooMany(firmwareId: string): OtaError {
  return new OtaError(
    "failed_precondition",
    "TOO_MANY_ATTACHMENTS",
    `firmware ${firmwareId} has ${maxAttachments} files beside it already`,
    { metadata: { firmware_id: firmwareId, most: String(maxAttachments) } },
  );
}

function tooManyUploads(): OtaError {
  return new OtaError("resource_exhausted", "QUEUE_FULL", `${maxReceiving} files are being attached`, {
    retryAfterMs: 5_000,
  });
}
