import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { collectList, parseCount, parseTime } from "./parse.ts";
import { type Cli, withSession } from "./session.ts";

/** What root metadata is made of. */
export interface TufRootOptions {
  readonly rootKey: string[];
  readonly rootThreshold: number;
  readonly targetsKey: string[];
  readonly targetsThreshold: number;
  readonly onlineKey: string;
  readonly previous?: string;
  readonly expires?: Timestamp;
  readonly out: string;
}

/** `tuf …`: metadata of The Update Framework. `init` and `sign` talk to no service, so that their keys need no network. */
export function addTufCommands(program: Command, cli: Cli): void {
  const tuf = program
    .command("tuf")
    .description("TUF metadata: which firmware a product has, for TUF clients");
  const keyCount = parseCount(1, 16);
  tuf
    .command("online-key")
    .argument("<product>", "whose metadata it is")
    .description("Have the service make its key for snapshot and timestamp, and write the public half")
    .option("--out <file>", "where to write it", "online.pub.pem")
    .action(
      withSession(cli, async (session, product: string, options: { out: string }) => {
        const { writeOnlineKey } = await import("./tuf.ts");
        await writeOnlineKey(session, product, options.out);
      }),
    );
  tuf
    .command("init")
    .description("Make root metadata: whose signatures count (offline)")
    .requiredOption("--root-key <files>", "public keys (PEM) that sign root", collectList)
    .option("--root-threshold <count>", "how many of them must sign", keyCount, 1)
    .requiredOption(
      "--targets-key <files>",
      "public keys (PEM) that sign which firmware there is",
      collectList,
    )
    .option("--targets-threshold <count>", "how many of them must sign", keyCount, 1)
    .requiredOption("--online-key <file>", "the service's public key, from `tuf online-key`")
    .option("--previous <file>", "the root metadata that it follows (default: it is the first)")
    .option("--expires <time>", "clients take it until then: 2030-12-31 or 90d (default: 365d)", parseTime)
    .option("--out <file>", "where to write it", "root.json")
    .action(async (options: TufRootOptions, command: Command) => {
      const { initRoot } = await import("./tuf.ts");
      await initRoot(cli, options, isJson(command));
    });
  tuf
    .command("draft")
    .argument("<product>", "whose metadata it is")
    .description("Write the next targets metadata: what is released and not recalled")
    .option("--expires <time>", "clients take it until then: 2030-12-31 or 90d (default: 90d)", parseTime)
    .option("--out <file>", "where to write it", "targets.json")
    .action(
      withSession(cli, async (session, product: string, options: { out: string; expires?: Timestamp }) => {
        const { writeDraft } = await import("./tuf.ts");
        await writeDraft(session, product, options);
      }),
    );
  tuf
    .command("sign")
    .argument("<file>", "root or targets metadata; the signature is added to it")
    .description("Show what root or targets metadata says, and sign it (offline)")
    .requiredOption("--key <file>", "the private key (PEM): Ed25519, P-256 or RSA")
    .action(async (file: string, options: { key: string }, command: Command) => {
      const { signMetadata } = await import("./tuf.ts");
      await signMetadata(cli, file, options.key, isJson(command));
    });
  tuf
    .command("publish")
    .argument("<product>", "whose metadata it is")
    .argument("<files...>", "root metadata, targets metadata, or both")
    .description("Hand signed metadata in; the service signs snapshot and timestamp at once")
    .action(
      withSession(cli, async (session, product: string, files: string[]) => {
        const { publishMetadata } = await import("./tuf.ts");
        await publishMetadata(session, product, files);
      }),
    );
  tuf
    .command("show")
    .argument("<product>", "whose metadata it is")
    .description("Show what is published, and until when it holds")
    .action(
      withSession(cli, async (session, product: string) => {
        const { showRepository } = await import("./tuf.ts");
        await showRepository(session, product);
      }),
    );
}

function isJson(command: Command): boolean {
  return command.optsWithGlobals<{ json?: boolean }>().json === true;
}
