import { open, rm } from "node:fs/promises";
import { basename } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  AttachmentKindSchema,
  type Firmware,
  type FirmwareAttachment,
} from "../../gen/ota/v1/firmware_pb.js";
import {
  DetachFirmwareFileResponseSchema,
  FirmwareService,
  GetFirmwareResponseSchema,
} from "../../gen/ota/v1/firmware_service_pb.js";
import { CliError, exitCodes, required } from "./failure.ts";
import { agoText, bytesText, cleanText, enumText } from "./format.ts";
import { firmwareId } from "./references.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

const { method } = FirmwareService;

/** `firmware attach` and its like: files that say what a firmware is made of and where it comes from. */
export function addAttachmentCommands(firmware: Command, cli: Cli): void {
  firmware
    .command("attach")
    .argument("<firmware>", FIRMWARE)
    .argument("<files...>", "SBOMs (CycloneDX or SPDX in JSON), SUIT envelopes, in-toto attestations")
    .description("Put files beside a firmware that is not released; its signatures will bind them")
    .action(
      withSession(cli, async (session, reference: string, files: string[]) => {
        const id = await firmwareId(session, reference);
        for (const file of files) {
          if (await attachFile(session, id, file)) session.noteUnchanged(true, `${file} was there already`);
        }
        const { firmware: attached } = await session.call(method.getFirmware, { id });
        session.print(
          GetFirmwareResponseSchema,
          create(GetFirmwareResponseSchema, attached === undefined ? {} : { firmware: attached }),
          () => renderAttachments(session, attached?.attachments ?? []),
        );
      }),
    );
  firmware
    .command("attachments")
    .argument("<firmware>", FIRMWARE)
    .description("List the files beside a firmware")
    .action(
      withSession(cli, async (session, reference: string) => {
        const found = await readFirmware(session, reference);
        session.print(GetFirmwareResponseSchema, create(GetFirmwareResponseSchema, { firmware: found }), () =>
          renderAttachments(session, found.attachments),
        );
      }),
    );
  firmware
    .command("attachment")
    .argument("<firmware>", FIRMWARE)
    .argument("<attachment>", ATTACHMENT)
    .description("Save a file that is beside a firmware")
    .option("--out <file>", "where to write it (default: its name, in this folder)")
    .action(withSession(cli, saveAttachment));
  firmware
    .command("detach")
    .argument("<firmware>", FIRMWARE)
    .argument("<attachment>", ATTACHMENT)
    .description("Take a file away from a firmware that is not released")
    .action(
      withSession(cli, async (session, reference: string, name: string) => {
        const found = await readFirmware(session, reference);
        const { id: attachmentId } = attachmentNamed(found, name);
        const answer = await session.call(method.detachFirmwareFile, { id: found.id, attachmentId });
        session.print(DetachFirmwareFileResponseSchema, answer, () =>
          renderAttachments(session, answer.firmware?.attachments ?? []),
        );
      }),
    );
}

const FIRMWARE = "the firmware: its id or product@version";
const ATTACHMENT = "the file: its id, name or SHA-256";

/** Puts a file beside a firmware. Returns whether it was there already. */
export async function attachFile(session: Session, id: string, file: string): Promise<boolean> {
  const { unchanged } = await session.rpc.clientStream(method.attachFirmwareFile, chunksOf(id, file), {
    signal: session.signal,
  });
  return unchanged;
}

async function* chunksOf(id: string, path: string) {
  await using file = await open(path);
  yield { id, fileName: basename(path).slice(0, 200) };
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(chunkBytes));
    if (bytesRead === 0) return;
    yield { data: buffer.subarray(0, bytesRead) };
  }
}

/** As the contract bounds a message's data. */
const chunkBytes = 256 * 1024;

async function saveAttachment(
  session: Session,
  reference: string,
  name: string,
  options: { out?: string },
): Promise<void> {
  const found = await readFirmware(session, reference);
  const attachment = attachmentNamed(found, name);
  const answers = session.rpc.serverStream(
    method.downloadFirmwareAttachment,
    { id: found.id, attachmentId: attachment.id },
    { signal: session.signal },
  );
  const out = options.out ?? savedName(attachment);
  // A file that is there is not written over.
  await using file = await open(out, "wx");
  try {
    for await (const { data } of answers) await file.write(data);
  } catch (error) {
    await rm(out, { force: true });
    throw error;
  }
  if (!session.json) session.terminal.out(`Saved ${out} (${bytesText(attachment.sizeBytes)}).`);
}

/** Whatever its name is, it is written here and nowhere else. */
function savedName({ fileName, id }: FirmwareAttachment): string {
  const plain = fileName.replaceAll(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, "");
  return plain === "" ? id : plain;
}

async function readFirmware(session: Session, reference: string): Promise<Firmware> {
  const { firmware } = await session.call(method.getFirmware, { id: await firmwareId(session, reference) });
  return required(firmware, "a firmware");
}

function attachmentNamed({ attachments }: Firmware, name: string): FirmwareAttachment {
  const found = attachments.filter(({ id, fileName, sha256 }) => [id, fileName, sha256].includes(name));
  const [attachment, other] = found;
  if (attachment !== undefined && other === undefined) return attachment;
  throw new CliError(
    exitCodes.notFound,
    other === undefined ? `there is no file ${name} beside it` : `several files are named ${name}: use an id`,
  );
}

function renderAttachments(session: Session, attachments: readonly FirmwareAttachment[]): string {
  if (attachments.length === 0) return "No files beside it.";
  const nowMs = Date.now();
  const columns: Column<FirmwareAttachment>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "file", text: ({ fileName }) => cleanText(fileName) || "-" },
    { title: "kind", text: ({ kind }) => enumText(AttachmentKindSchema, kind) },
    { title: "format", text: ({ format }) => cleanText(format) },
    { title: "size", text: ({ sizeBytes }) => bytesText(sizeBytes), align: "right" },
    { title: "sha256", text: ({ sha256 }) => sha256 },
    { title: "attached", text: ({ createTime }) => agoText(createTime, nowMs) },
  ];
  return renderTable(session.terminal, columns, attachments);
}
