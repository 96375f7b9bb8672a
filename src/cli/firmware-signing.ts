import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import { type AttachmentDigest, attachmentFormat } from "../manifest/attachment.ts";
import { createManifest, parseManifest } from "../manifest/manifest.ts";
import { generateSigningKey, publicKeyOf, signManifest, thumbprint } from "../manifest/signature.ts";
import { CliError, exitCodes } from "./failure.ts";
import { readManifestFile } from "./firmware-description.ts";
import { digestFile } from "./firmware-file.ts";
import { writeNew } from "./new-file.ts";
import { collectList, collectNames, parseCount, parseTime } from "./parse.ts";
import type { Cli } from "./session.ts";
import { renderFacts } from "./table.ts";

/**
 * `firmware keygen` and `firmware sign`: they talk to no service, so that the private key can live on a machine that no
 * network reaches.
 */
export function addSigningCommands(firmware: Command, cli: Cli): void {
  firmware
    .command("keygen")
    .description("Make an Ed25519 key pair for signing (offline)")
    .option("--out <prefix>", "writes <prefix>.key.pem and <prefix>.pub.pem", "signing")
    .addHelpText(
      "after",
      "\nKeep the private key off the service's machine. Tell the service of the public one:\n  $ device-ota signing-key register --name 'release team' signing.pub.pem",
    )
    .action((options: { out: string }, command: Command) => keygen(cli, options, isJson(command)));

  firmware
    .command("sign")
    .argument("[file]", "the content to make a manifest for and sign; not needed with --manifest")
    .description("Write manifest.json and manifest.sig (offline)")
    .requiredOption("--key <file>", "the private key (PEM): Ed25519, P-256 or RSA")
    .addOption(new Option("--manifest <file>", "sign this manifest, from `firmware manifest`, as it is"))
    .option("--product <name>", "the product, as in `firmware create`")
    .option("--version <version>", "the version: semantic, such as 1.4.0")
    .option("--device-type <names>", "the device types that it is for", collectNames)
    .option("--model <names>", "the hardware models that it runs on (default: all)", collectNames)
    .option("--min-current-version <version>", "the oldest version from which it installs", "")
    .option("--downgrade-from <version>", "devices may go back to it from this version or an older one")
    .option("--security-counter <number>", "never falls on a device", parseCount(0, 2 ** 31 - 1), 0)
    .option("--security-fix", "it fixes a security fault", false)
    .option("--component <name>", "it is the application of this name on the device, not the firmware")
    .option("--attach <files>", "bind these files, which lie beside it at the service", collectList)
    .option("--expires <time>", "no longer install it after this: 2026-12-31 or 90d", parseTime)
    .option("--out <folder>", "where to write the two files", ".")
    .addHelpText(
      "after",
      "\nThe signature covers the manifest's exact bytes; openssl makes the same one:\n  $ openssl pkeyutl -sign -rawin -inkey signing.key.pem -in manifest.json -out manifest.sig\nHand both in with `device-ota firmware submit`.",
    )
    .action((file: string | undefined, options: SignOptions, command: Command) =>
      signOffline(cli, file, options, isJson(command)),
    );
}

/** What a manifest says beside digest and size. */
interface ManifestOptions {
  readonly product?: string;
  readonly version?: string;
  readonly component?: string;
  readonly deviceType?: string[];
  readonly model?: string[];
  readonly minCurrentVersion: string;
  readonly downgradeFrom?: string;
  readonly attach?: string[];
  readonly securityCounter: number;
  readonly securityFix: boolean;
  readonly expires?: Timestamp;
}

interface SignOptions extends ManifestOptions {
  readonly key: string;
  readonly manifest?: string;
  readonly out: string;
}

async function keygen(cli: Cli, options: { out: string }, json: boolean): Promise<void> {
  const pair = generateSigningKey();
  const [privateFile, publicFile] = [`${options.out}.key.pem`, `${options.out}.pub.pem`];
  // Never over an existing key: what it signed could not be signed again.
  await writeNew(privateFile, pair.privateKeyPem, 0o600);
  await writeNew(publicFile, pair.publicKeyPem, 0o644);
  if (json) {
    cli.terminal.out(
      JSON.stringify({ keyId: pair.keyId, privateKey: privateFile, publicKey: publicFile }, undefined, 2),
    );
    return;
  }
  cli.terminal.out(
    renderFacts(cli.terminal, [
      ["key id", pair.keyId],
      ["private key", `${privateFile} (readable by you alone: keep it safe, and off the service's machine)`],
      ["public key", publicFile],
      ["next", `device-ota signing-key register --name <whose> ${publicFile}`],
    ]),
  );
}

async function signOffline(
  cli: Cli,
  file: string | undefined,
  options: SignOptions,
  json: boolean,
): Promise<void> {
  const privateKeyPem = await readFile(options.key, "utf8");
  const bytes = await manifestBytes(cli, file, options);
  const manifest = parseManifest(bytes);
  const signature = signManifest(privateKeyPem, bytes);
  const [manifestFile, signatureFile] = [
    join(options.out, "manifest.json"),
    join(options.out, "manifest.sig"),
  ];
  await writeFile(manifestFile, bytes);
  await writeFile(signatureFile, signature);
  const keyId = thumbprint(publicKeyOf(privateKeyPem));
  if (json) {
    const answer = { keyId, manifest: manifestFile, signature: signatureFile, sha256: manifest.sha256 };
    cli.terminal.out(JSON.stringify(answer, undefined, 2));
    return;
  }
  cli.terminal.out(
    renderFacts(cli.terminal, [
      ["signed", `${manifest.product} ${manifest.version}, sha256 ${manifest.sha256}`],
      ["by key", keyId],
      ["manifest", manifestFile],
      ["signature", signatureFile],
      [
        "next",
        `device-ota firmware submit ${manifest.product}@${manifest.version} --manifest ${manifestFile} --signature ${signatureFile}`,
      ],
    ]),
  );
}

async function manifestBytes(cli: Cli, file: string | undefined, options: SignOptions): Promise<Uint8Array> {
  if (options.manifest !== undefined) {
    const bytes = await readManifestFile(options.manifest);
    if (file !== undefined && parseManifest(bytes).sha256 !== (await digestFile(file, cli.signal)).sha256) {
      throw new CliError(exitCodes.usage, `${options.manifest} is for another content than ${file}`);
    }
    return bytes;
  }
  if (file === undefined) throw new CliError(exitCodes.usage, "name the file to sign, or a --manifest");
  const { product, version, deviceType } = options;
  if (product === undefined || version === undefined || deviceType === undefined) {
    throw new CliError(exitCodes.usage, "a new manifest needs --product, --version and --device-type");
  }
  const { sha256, sizeBytes } = await digestFile(file, cli.signal);
  return createManifest({
    product,
    version,
    component: options.component,
    deviceTypes: deviceType,
    hardwareModels: options.model ?? [],
    minCurrentVersion: options.minCurrentVersion,
    downgradeFrom: options.downgradeFrom,
    attachments: await Promise.all((options.attach ?? []).map(attachmentOf)),
    securityCounter: options.securityCounter,
    securityFix: options.securityFix,
    sha256,
    sizeBytes,
    created: new Date(),
    expires: options.expires === undefined ? undefined : timestampDate(options.expires),
  });
}

async function attachmentOf(path: string): Promise<AttachmentDigest> {
  const content = await readFile(path);
  const { kind } = attachmentFormat(content);
  return {
    kind,
    sha256: createHash("sha256").update(content).digest("hex"),
    sizeBytes: content.length,
  };
}

function isJson(command: Command): boolean {
  return command.optsWithGlobals<{ json?: boolean }>().json === true;
}
