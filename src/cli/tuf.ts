import { readFile, writeFile } from "node:fs/promises";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  CreateTufOnlineKeyResponseSchema,
  DraftTufTargetsResponseSchema,
  GetTufRepositoryResponseSchema,
  type TufRepository,
  TufRoleSchema,
  TufService,
} from "../../gen/ota/v1/tuf_service_pb.js";
import { makeRoot } from "../tuf/tuf-making.ts";
import {
  assertSigned,
  type RootMetadata,
  readOffline,
  readRoot,
  type TargetsMetadata,
  withSignature,
} from "../tuf/tuf-metadata.ts";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText, enumText, timeText } from "./format.ts";
import { writeNew } from "./new-file.ts";
import type { Cli, Session } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { TufRootOptions } from "./tuf-commands.ts";

const { method } = TufService;

/** Writes the public half of the service's key. */
export async function writeOnlineKey(session: Session, product: string, file: string): Promise<void> {
  const answer = await session.call(method.createTufOnlineKey, { product });
  await writeNew(file, answer.publicKeyPem, 0o644);
  session.print(CreateTufOnlineKeyResponseSchema, answer, () =>
    renderFacts(session.terminal, [
      ["key id", answer.keyId],
      ["public key", file],
      ["next", `device-ota tuf init --root-key … --targets-key … --online-key ${file}`],
    ]),
  );
}

/** Writes root metadata that nobody has signed yet. */
export async function initRoot(cli: Cli, options: TufRootOptions, json: boolean): Promise<void> {
  const read = (files: readonly string[]) => Promise.all(files.map((file) => readFile(file, "utf8")));
  const previous = options.previous === undefined ? undefined : readRoot(await readFile(options.previous));
  if (previous !== undefined) assertSigned(previous, previous);
  const version = (previous?.version ?? 0) + 1;
  const root = makeRoot({
    version,
    expiresAt:
      options.expires === undefined ? new Date(Date.now() + rootLifetimeMs) : timestampDate(options.expires),
    root: { publicKeyPems: await read(options.rootKey), threshold: options.rootThreshold },
    targets: { publicKeyPems: await read(options.targetsKey), threshold: options.targetsThreshold },
    online: { publicKeyPems: await read([options.onlineKey]), threshold: 1 },
  });
  // What it refuses, clients and service would refuse too.
  readRoot(root);
  await writeNew(options.out, Buffer.from(root).toString(), 0o644);
  tell(cli, json, [
    ["root", `version ${version} in ${options.out}, without signatures`],
    [
      "next",
      `device-ota tuf sign ${options.out} --key <private key>, ${
        previous === undefined ? "" : "by the root keys of before and "
      }by each root key that it names`,
    ],
  ]);
}

/** Writes targets metadata that nobody has signed yet. */
export async function writeDraft(
  session: Session,
  product: string,
  { out, expires }: { readonly out: string; readonly expires?: DraftExpiry },
): Promise<void> {
  const request = { product, ...(expires === undefined ? {} : { expireTime: expires }) };
  const answer = await session.call(method.draftTufTargets, request);
  await writeFile(out, answer.targets);
  const listed = (versions: readonly string[]) => cleanText(versions.join(", ")) || "none";
  session.print(DraftTufTargetsResponseSchema, answer, () =>
    renderFacts(session.terminal, [
      ["targets", `${out}, without signatures`],
      ["new in it", listed(answer.addedVersions)],
      ["no longer in it", listed(answer.removedVersions)],
      ["next", `device-ota tuf sign ${out} --key <private key>`],
    ]),
  );
}

type DraftExpiry = NonNullable<TufRootOptions["expires"]>;

/** Adds a signature to the file, and says what was signed: the signer is the one who must have looked. */
export async function signMetadata(cli: Cli, file: string, keyFile: string, json: boolean): Promise<void> {
  const before = readOffline(await readFile(file));
  const signed = withSignature(before.metadata, await readFile(keyFile, "utf8"));
  await writeFile(file, signed);
  const after = readOffline(signed);
  tell(cli, json, [
    [after.role, `version ${after.version}, until ${after.expiresAt.toISOString()}`],
    ...contentOf(after),
    ["signatures", String(Object.keys(after.metadata.signatures).length)],
  ]);
}

/** Hands in root metadata, targets metadata, or both at once. */
export async function publishMetadata(
  session: Session,
  product: string,
  files: readonly string[],
): Promise<void> {
  const read = await Promise.all(files.map(async (file) => readOffline(await readFile(file))));
  const bytesOf = (role: string) => read.find((each) => each.role === role)?.bytes;
  const [root, targets] = [bytesOf("root"), bytesOf("targets")];
  if (read.length > Number(root !== undefined) + Number(targets !== undefined))
    throw new CliError(exitCodes.usage, "name one root metadata, one targets metadata, or one of each");
  const also = targets === undefined ? {} : { targets: new Uint8Array(targets) };
  const { repository, unchanged } =
    root === undefined
      ? await session.call(method.publishTufTargets, { product, ...also })
      : await session.call(method.publishTufRoot, { product, root: new Uint8Array(root), ...also });
  print(session, repository);
  session.noteUnchanged(unchanged, "it is published already");
}

/** Prints what is published. */
export async function showRepository(session: Session, product: string): Promise<void> {
  print(session, (await session.call(method.getTufRepository, { product })).repository);
}

const rootLifetimeMs = 365 * 86_400_000;

function print(session: Session, repository: TufRepository | undefined): void {
  const answer = { $typeName: "ota.v1.GetTufRepositoryResponse" as const, ...(repository && { repository }) };
  session.print(GetTufRepositoryResponseSchema, answer, () => {
    const columns: Column<TufRepository["roles"][number]>[] = [
      { title: "role", text: ({ role }) => enumText(TufRoleSchema, role) },
      { title: "version", text: ({ version }) => String(version) },
      { title: "holds until", text: ({ expireTime }) => timeText(expireTime) },
    ];
    return renderTable(session.terminal, columns, repository?.roles ?? []);
  });
}

function contentOf(read: RootMetadata | TargetsMetadata): [string, string][] {
  const { signed } = read.metadata;
  if ("targets" in signed) {
    return Object.entries(signed.targets).map(([version, { length, hashes }]) => [
      "firmware",
      cleanText(`${version}, ${length} bytes, sha256 ${hashes["sha256"] ?? ""}`),
    ]);
  }
  return Object.entries(signed.roles).map(([role, { keyIDs, threshold }]) => [
    `${role} keys`,
    cleanText(`${threshold} of ${keyIDs.map((id) => id.slice(0, 12)).join(", ")}`),
  ]);
}

function tell(cli: Cli, json: boolean, facts: [string, string][]): void {
  cli.terminal.out(json ? JSON.stringify(facts, undefined, 2) : renderFacts(cli.terminal, facts));
}
