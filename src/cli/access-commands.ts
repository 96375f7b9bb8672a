import { randomUUID as newRequestId } from "node:crypto";
import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type EnrolmentKey,
  EnrolmentKeySchema,
  type SigningKey,
  SigningKeySchema,
} from "../../gen/ota/v1/access_pb.js";
import {
  AccessService,
  CreateEnrolmentKeyResponseSchema,
  ListEnrolmentKeysResponseSchema,
  ListSigningKeysResponseSchema,
  RevokeSigningKeyResponseSchema,
} from "../../gen/ota/v1/access_service_pb.js";
import { expiry, required, secretText, validityText } from "./credential-text.ts";
import { agoText, cleanText, countText, listText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { collectNames, parseCount, parseTime } from "./parse.ts";
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

function addEnrolmentKeyCommands(program: Command, cli: Cli): void {
  const key = program.command("enrolment-key").description("Keys with which devices enrol (role admin)");
  key
    .command("create")
    .description("Create an enrolment key; its secret is shown once")
    .requiredOption("--name <name>", "what it is for, for example 'line 3, July'")
    .option(
      "--max-uses <count>",
      "the most devices that it may enrol (default: no limit)",
      parseCount(0, 1_000_000_000),
      0,
    )
    .option("--device-type <names>", "only these device types (default: all)", collectNames)
    .option("--require-approval", "whoever enrols with it is in quarantine until `device approve`")
    .option("--expires <time>", "when it stops working: 2026-12-31 or 90d (default: never)", parseTime)
    .action(
      withSession(
        cli,
        async (
          session,
          options: {
            name: string;
            maxUses: number;
            deviceType?: string[];
            requireApproval?: boolean;
            expires?: Timestamp;
          },
        ) => {
          const answer = await session.call(method.createEnrolmentKey, {
            requestId: newRequestId(),
            name: options.name,
            maxUses: BigInt(options.maxUses),
            deviceTypes: options.deviceType ?? [],
            requireApproval: options.requireApproval === true,
            ...expiry(options.expires),
          });
          session.print(CreateEnrolmentKeyResponseSchema, answer, () =>
            secretText(session, "enrolment key", answer.key?.id, answer.secret),
          );
        },
      ),
    );
  key
    .command("list")
    .description("List enrolment keys, newest first")
    .addOption(limitOption())
    .action(
      withSession(cli, async (session, options: { limit: number }) => {
        const { items, nextPageToken } = await readPages(options.limit, async (page) => {
          const answer = await session.call(method.listEnrolmentKeys, page);
          return { items: answer.keys, nextPageToken: answer.nextPageToken };
        });
        const answer = create(ListEnrolmentKeysResponseSchema, { keys: items, nextPageToken });
        session.print(ListEnrolmentKeysResponseSchema, answer, () => renderEnrolmentKeys(session, items));
        noteMore(session, nextPageToken);
      }),
    );
  key
    .command("revoke")
    .argument("<id>", "the key's id")
    .description("Revoke an enrolment key; devices that enrolled with it stay")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, id: string, options: { reason?: string }) => {
        const answer = await session.call(method.revokeEnrolmentKey, { id, reason: options.reason ?? "" });
        const revoked = required(answer.key);
        session.print(EnrolmentKeySchema, revoked, () => `Revoked enrolment key ${cleanText(revoked.name)}.`);
      }),
    );
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

function renderEnrolmentKeys(session: Session, keys: readonly EnrolmentKey[]): string {
  if (keys.length === 0) return "No enrolment keys.";
  const nowMs = Date.now();
  const columns: Column<EnrolmentKey>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "name", text: ({ name }) => cleanText(name) },
    {
      title: "used",
      text: ({ useCount, maxUses }) => (maxUses === 0n ? `${useCount}` : `${useCount} of ${maxUses}`),
    },
    {
      title: "for",
      text: ({ deviceTypes }) => (deviceTypes.length === 0 ? "all types" : listText(deviceTypes)),
    },
    { title: "created", text: ({ createTime }) => agoText(createTime, nowMs) },
    { title: "validity", text: (key) => validityText(key, nowMs) },
  ];
  return renderTable(session.terminal, columns, keys);
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
