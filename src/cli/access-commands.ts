import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { type SigningKey, SigningKeySchema } from "../../gen/ota/v1/access_pb.js";
import {
  AccessService,
  ListSigningKeysResponseSchema,
  RevokeSigningKeyResponseSchema,
} from "../../gen/ota/v1/access_service_pb.js";
import { required, validityText } from "./credential-text.ts";
import { addEnrolmentKeyCommands } from "./enrolment-key-commands.ts";
import { agoText, cleanText, countText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import { addTokenCommands } from "./token-commands.ts";

const { method } = AccessService;

/** `token …`, `enrolment-key …` and `signing-key …`: who may do what. */
export function addAccessCommands(program: Command, cli: Cli): void {
  addTokenCommands(program, cli);
  addEnrolmentKeyCommands(program, cli);
  addSigningKeyCommands(program, cli);
}

function addSigningKeyCommands(program: Command, cli: Cli): void {
  const key = program
    .command("signing-key")
    .description("Public keys that firmware signatures are checked with");
  key
    .command("register")
    .argument("<file>", "the public key (PEM), from `firmware keygen` or openssl")
    .description("Register a public key (role admin)")
    .requiredOption("--name <name>", "whose it is")
    .action(
      withSession(cli, async (session, file: string, options: { name: string }) => {
        const publicKeyPem = await readFile(file, "utf8");
        const answer = await session.call(method.registerSigningKey, { name: options.name, publicKeyPem });
        const registered = required(answer.key);
        session.print(SigningKeySchema, registered, () =>
          renderFacts(session.terminal, [
            ["key id", registered.id],
            ["name", cleanText(registered.name)],
            ["algorithm", registered.algorithm],
          ]),
        );
      }),
    );
  key
    .command("list")
    .description("List signing keys, newest first")
    .addOption(limitOption())
    .action(
      withSession(cli, async (session, options: { limit: number }) => {
        const { items, nextPageToken } = await readPages(options.limit, async (page) => {
          const answer = await session.call(method.listSigningKeys, page);
          return { items: answer.keys, nextPageToken: answer.nextPageToken };
        });
        const answer = create(ListSigningKeysResponseSchema, { keys: items, nextPageToken });
        session.print(ListSigningKeysResponseSchema, answer, () => renderSigningKeys(session, items));
        noteMore(session, nextPageToken);
      }),
    );
  key
    .command("revoke")
    .argument("<id>", "the key's id")
    .description(
      "Revoke a key: its signatures count no more, rollouts that rest on them are paused (role admin)",
    )
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, id: string, options: { reason?: string }) => {
        const answer = await session.call(method.revokeSigningKey, { id, reason: options.reason ?? "" });
        session.print(
          RevokeSigningKeyResponseSchema,
          answer,
          () =>
            `Revoked signing key ${cleanText(answer.key?.name ?? id)}; ${countText(answer.pausedRolloutCount, "rollout")} paused.`,
        );
      }),
    );
}

function renderSigningKeys(session: Session, keys: readonly SigningKey[]): string {
  if (keys.length === 0) return "No signing keys.";
  const nowMs = Date.now();
  const columns: Column<SigningKey>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "name", text: ({ name }) => cleanText(name) },
    { title: "algorithm", text: ({ algorithm }) => cleanText(algorithm) },
    { title: "registered", text: ({ createTime }) => agoText(createTime, nowMs) },
    {
      title: "validity",
      text: ({ revokeTime }) => validityText({ revokeTime, expireTime: undefined }, nowMs),
    },
  ];
  return renderTable(session.terminal, columns, keys);
}
