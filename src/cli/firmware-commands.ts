import { randomUUID as newRequestId } from "node:crypto";
import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { type Command, Option } from "commander";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { type Firmware, FirmwareSchema, FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService, ListFirmwareResponseSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import { createManifest, parseManifest } from "../manifest/manifest.ts";
import { publicKeyOf, signManifest, thumbprint, verifySignature } from "../manifest/signature.ts";
import { CliError, exitCodes, required } from "./failure.ts";
import { addAttachmentCommands, attachFile } from "./firmware-attachments.ts";
import {
  addDescriptionOptions,
  type DescriptionOptions,
  describeFirmware,
  manifestOption,
  readManifestFile,
} from "./firmware-description.ts";
import { digestFile } from "./firmware-file.ts";
import { addSigningCommands } from "./firmware-signing.ts";
import { uploadFirmware } from "./firmware-upload.ts";
import { renderFirmware, renderFirmwareList } from "./firmware-view.ts";
import { bytesText } from "./format.ts";
import { filterOption, limitOption, noteMore, readPages } from "./paging.ts";
import { collectList, parseEnumValue } from "./parse.ts";
import { transferProgress } from "./progress.ts";
import { addRecallCommands } from "./recall-commands.ts";
import { firmwareId } from "./references.ts";
import {
  addRolloutOptions,
  metadataOption,
  type NewRolloutOptions,
  resolvedRolloutParts,
  saltOption,
} from "./rollout-options.ts";
import { printSteered } from "./rollout-output.ts";
import { noteWarnings } from "./rollout-warnings.ts";
import { type Cli, type Session, withSession } from "./session.ts";

const { method } = FirmwareService;

/** `firmware …`: the catalogue, from a file to a signed release to a deployment. */
export function addFirmwareCommands(program: Command, cli: Cli): void {
  const firmware = program
    .command("firmware")
    .description("The catalogue: create, upload, sign and deploy firmware")
    .addHelpText("after", FIRMWARE_HELP);
  addSigningCommands(firmware, cli);

  addDescriptionOptions(
    firmware.command("create").argument("[file]", "the content; only its digest and size are sent"),
  )
    .optionsGroup("Instead of the file and what a signature covers:")
    .addOption(manifestOption())
    .description("Create the record of a new version")
    .action(
      withSession(cli, async (session, file: string | undefined, options: DescriptionOptions) => {
        printFirmware(session, await createFirmware(session, file, options));
      }),
    );

  addDescriptionOptions(firmware.command("publish").argument("<file>", "the content"))
    .description("Create, upload and sign in one go, with a key on this machine")
    .requiredOption("--key <file>", "the private key (PEM); its public half must be registered")
    .option(
      "--attach <files>",
      "put these beside it: SBOM (CycloneDX, SPDX), SUIT envelope, attestation",
      collectList,
    )
    .addOption(downgradeOption())
    .action(withSession(cli, publishFirmware));

  firmware
    .command("upload")
    .argument("<firmware>", REFERENCE)
    .argument("<file>", "the content")
    .description("Upload the content; a broken upload goes on where it stopped")
    .action(
      withSession(cli, async (session, reference: string, file: string) => {
        const id = await firmwareId(session, reference);
        const { firmware: record } = await session.call(method.getFirmware, { id });
        printFirmware(session, await upload(session, required(record, "a firmware"), file));
      }),
    );

  firmware
    .command("manifest")
    .argument("<firmware>", REFERENCE)
    .description("Print the manifest to be signed, byte for byte (redirect it into a file)")
    .addOption(downgradeOption())
    .action(
      withSession(cli, async (session, reference: string, options: { downgradeFrom?: string }) => {
        const manifest = await manifestOf(session, await firmwareId(session, reference), options);
        session.terminal.write(Buffer.from(manifest).toString("utf8"));
      }),
    );

  firmware
    .command("submit")
    .argument("<firmware>", REFERENCE)
    .description("Hand in a manifest and its signature; with enough signatures the firmware is released")
    .option("--manifest <file>", "the exact bytes that were signed", "manifest.json")
    .option(
      "--signature <file>",
      "the detached signature, as `firmware sign` or openssl wrote it",
      "manifest.sig",
    )
    .option("--key-id <id>", "the registered key that made it (default: the one that verifies it)")
    .action(withSession(cli, submitSignature));

  firmware
    .command("release")
    .argument("<firmware>", REFERENCE)
    .description("Release a firmware without deploying it, where it needs no signature or has enough")
    .action(
      withSession(cli, async (session, reference: string) => {
        const id = await firmwareId(session, reference);
        const { firmware: released, unchanged } = await session.call(method.releaseFirmware, { id });
        printFirmware(session, required(released, "a firmware"));
        session.noteUnchanged(unchanged, "it was released already");
      }),
    );

  firmware
    .command("list")
    .description("List firmware, newest first")
    .option("--product <name>", "only this product")
    .option("--version <version>", "only this version")
    .option("--device-type <name>", "only firmware for this device type")
    .option("--model <name>", "only firmware that fits this hardware model")
    .option("--state <states>", "only these: draft, uploaded, released", parseEnumValue(FirmwareState))
    .option("--deleted", "also list deleted firmware")
    .addOption(filterOption("state = RELEASED create_time > ago(30d)"))
    .addOption(limitOption())
    .action(withSession(cli, listFirmware));

  firmware
    .command("show")
    .argument("<firmware>", REFERENCE)
    .description("Show one firmware")
    .action(
      withSession(cli, async (session, reference: string) => {
        const answer = await session.call(method.getFirmware, { id: await firmwareId(session, reference) });
        printFirmware(session, required(answer.firmware, "a firmware"));
      }),
    );

  firmware
    .command("reported-as")
    .argument("<firmware>", REFERENCE)
    .argument("[texts...]", "the texts, in place of those before; none: its version alone")
    .description("Say under which texts devices report it, for versions that are not semantic")
    .action(
      withSession(cli, async (session, reference: string, texts: string[]) => {
        const id = await firmwareId(session, reference);
        const answer = await session.call(method.updateFirmware, { id, reportedVersions: { texts } });
        printFirmware(session, required(answer.firmware, "a firmware"));
      }),
    );

  firmware
    .command("delete")
    .argument("<firmware>", REFERENCE)
    .description("Take a firmware out of the catalogue; its record stays for history")
    .action(
      withSession(cli, async (session, reference: string) => {
        const id = await firmwareId(session, reference);
        const { firmware: deleted, unchanged } = await session.call(method.deleteFirmware, { id });
        printFirmware(session, required(deleted, "a firmware"));
        session.noteUnchanged(unchanged, "it was deleted already");
      }),
    );

  addAttachmentCommands(firmware, cli);
  addRecallCommands(firmware, cli);

  addRolloutOptions(
    firmware
      .command("deploy")
      .argument("<firmware>", REFERENCE)
      .description("Start a rollout of it, or take the one that runs on to a ring")
      .option("--ring <ring>", "the ring to open, with all before it (default: the first one)")
      .addOption(metadataOption())
      .addOption(saltOption()),
  ).action(
    withSession(cli, async (session, reference: string, options: NewRolloutOptions & { ring?: string }) => {
      const answer = await session.call(method.deployFirmware, {
        id: await firmwareId(session, reference),
        requestId: newRequestId(),
        ring: options.ring ?? "",
        metadata: options.metadata ?? {},
        salt: options.salt ?? "",
        ...(await resolvedRolloutParts(session, options)),
      });
      noteWarnings(session, answer.warnings);
      printSteered(session, answer);
      if (!session.json)
        session.terminal.note(`Follow it with \`device-ota rollout watch ${answer.rollout?.id}\`.`);
    }),
  );
}

const REFERENCE = "the firmware: its id or product@version";

const FIRMWARE_HELP = `
From a file to a fleet:
  $ device-ota firmware keygen --out release                       once: a key pair
  $ device-ota signing-key register --name release release.pub.pem
  $ device-ota firmware publish app.bin --product thermostat-os --version 1.1.0 \\
      --device-type thermostat --key release.key.pem               create, upload, sign
  $ device-ota firmware deploy thermostat-os@1.1.0                 canary first
  $ device-ota rollout watch latest

With the key on a machine that never sees the service:
  there  $ device-ota firmware sign app.bin --product … --key release.key.pem    manifest.json, manifest.sig
  here   $ device-ota firmware create --manifest manifest.json
         $ device-ota firmware upload thermostat-os@1.1.0 app.bin
         $ device-ota firmware submit thermostat-os@1.1.0`;

async function createFirmware(
  session: Session,
  file: string | undefined,
  options: DescriptionOptions,
): Promise<Firmware> {
  const request = await describeFirmware(file, options, session.signal);
  return required((await session.call(method.createFirmware, request)).firmware, "a firmware");
}

async function submitSignature(
  session: Session,
  reference: string,
  options: { manifest: string; signature: string; keyId?: string },
): Promise<void> {
  const manifest = await readManifestFile(options.manifest);
  const signature = await readFile(options.signature);
  const keyId = options.keyId ?? (await findSigner(session, manifest, signature));
  const id = await firmwareId(session, reference);
  const { firmware, unchanged } = await session.call(method.signFirmware, { id, manifest, signature, keyId });
  printFirmware(session, required(firmware, "a firmware"));
  session.noteUnchanged(unchanged, "the key had signed it already");
}

/** The registered key under which a signature is right. */
async function findSigner(session: Session, bytes: Uint8Array, signature: Uint8Array): Promise<string> {
  const { keys } = await session.call(AccessService.method.listSigningKeys, { pageSize: 1000 });
  const signer = keys.find(({ publicKeyPem }) => verifySignature({ publicKeyPem, bytes, signature }));
  if (signer !== undefined) return signer.id;
  throw new CliError(
    exitCodes.precondition,
    "no registered key made this signature over this manifest",
    "Register the public key with `device-ota signing-key register`.",
  );
}

async function publishFirmware(
  session: Session,
  file: string,
  options: DescriptionOptions & { key: string; attach?: string[]; downgradeFrom?: string },
): Promise<void> {
  // A wrong key file should be noticed before anything is created.
  const privateKeyPem = await readFile(options.key, "utf8");
  const keyId = thumbprint(publicKeyOf(privateKeyPem));
  const created = await createFirmware(session, file, options);
  await upload(session, created, file);
  const { id } = created;
  for (const each of options.attach ?? []) await attachFile(session, id, each);
  const manifest = await manifestOf(session, id, options);
  const signature = new Uint8Array(signManifest(privateKeyPem, manifest));
  const { firmware } = await session.call(method.signFirmware, { id, manifest, keyId, signature });
  printFirmware(session, required(firmware, "a firmware"));
}

/** The service's manifest of a firmware, with what only its signers decide. */
async function manifestOf(
  session: Session,
  id: string,
  { downgradeFrom }: { readonly downgradeFrom?: string },
): Promise<Uint8Array<ArrayBuffer>> {
  const { manifest } = await session.call(method.getFirmwareManifest, { id });
  if (downgradeFrom === undefined) return new Uint8Array(manifest);
  return new Uint8Array(createManifest({ ...parseManifest(manifest), downgradeFrom }));
}

function downgradeOption(): Option {
  return new Option(
    "--downgrade-from <version>",
    "devices may go back to it from this version or an older one though they never ran it",
  );
}

async function upload(session: Session, firmware: Firmware, file: string): Promise<Firmware> {
  const digest = await digestFile(file, session.signal);
  if (digest.sha256 !== firmware.sha256) {
    throw new CliError(
      exitCodes.usage,
      `${file} is not the content that was declared: its SHA-256 is ${digest.sha256}, declared was ${firmware.sha256}`,
    );
  }
  if (firmware.state !== FirmwareState.DRAFT) {
    if (!session.json) session.terminal.note("The service has this content already.");
    return firmware;
  }
  using progress = transferProgress("uploading", digest.sizeBytes);
  const uploaded = await uploadFirmware({
    rpc: session.rpc,
    firmwareId: firmware.id,
    path: file,
    sizeBytes: digest.sizeBytes,
    signal: session.signal,
    onProgress: (bytes) => progress.update(bytes),
  });
  if (!session.json) session.terminal.note(`Uploaded ${bytesText(digest.sizeBytes)}; the digest is right.`);
  return uploaded;
}

async function listFirmware(
  session: Session,
  options: {
    limit: number;
    product?: string;
    version?: string;
    deviceType?: string;
    model?: string;
    state?: FirmwareState[];
    deleted?: boolean;
    filter?: string;
  },
): Promise<void> {
  const filter = {
    product: options.product ?? "",
    version: options.version ?? "",
    deviceType: options.deviceType ?? "",
    hardwareModel: options.model ?? "",
    states: options.state ?? [],
    showDeleted: options.deleted === true,
    filter: options.filter ?? "",
  };
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(method.listFirmware, { ...filter, ...page });
    return { items: answer.firmware, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListFirmwareResponseSchema, { firmware: items, nextPageToken });
  session.print(ListFirmwareResponseSchema, answer, () =>
    items.length === 0 ? "No firmware." : renderFirmwareList(session.terminal, items, Date.now()),
  );
  noteMore(session, nextPageToken);
}

function printFirmware(session: Session, firmware: Firmware): void {
  session.print(FirmwareSchema, firmware, () => renderFirmware(session.terminal, firmware));
}
