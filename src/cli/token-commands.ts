import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type OperatorToken,
  OperatorTokenSchema,
  type Role,
  RoleSchema,
} from "../../gen/ota/v1/access_pb.js";
import {
  AccessService,
  CreateTokenResponseSchema,
  ListTokensResponseSchema,
} from "../../gen/ota/v1/access_service_pb.js";
import { expiry, secretText, validityText } from "./credential-text.ts";
import { required } from "./failure.ts";
import { agoText, cleanText, enumText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { collectNames, parseRole, parseTime } from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";
import type { TokenResetOptions } from "./token-reset.ts";

const { method } = AccessService;

/** `token …`: operators' tokens. */
export function addTokenCommands(program: Command, cli: Cli): void {
  const token = program.command("token").description("Operators' tokens (role admin)");
  token
    .command("create")
    .description("Create a token; its secret is shown once")
    .requiredOption("--name <name>", "what it is called in the audit log")
    .option("--owner <name>", "whose it is: one person's tokens never approve each other (default: the name)")
    .option(
      "--role <role>",
      "viewer (reads), operator (changes) or admin (also who may what)",
      parseRole,
      parseRole("viewer"),
    )
    .option("--product <names>", "only these products (default: all)", collectNames)
    .option("--device-filter <filter>", "only devices that match this filter (default: all)")
    .option("--expires <time>", "when it stops working: 2026-12-31 or 90d (default: never)", parseTime)
    .action(
      withSession(cli, async (session, options: TokenOptions) => {
        const answer = await session.call(method.createToken, {
          requestId: randomUUID(),
          name: options.name,
          role: options.role,
          owner: options.owner ?? "",
          products: options.product ?? [],
          deviceFilter: options.deviceFilter ?? "",
          ...expiry(options.expires),
        });
        session.print(CreateTokenResponseSchema, answer, () =>
          secretText(session, "token", answer.token?.id, answer.secret),
        );
      }),
    );
  token
    .command("list")
    .description("List tokens, newest first")
    .addOption(limitOption())
    .action(
      withSession(cli, async (session, options: { limit: number }) => {
        const { items, nextPageToken } = await readPages(options.limit, async (page) => {
          const answer = await session.call(method.listTokens, page);
          return { items: answer.tokens, nextPageToken: answer.nextPageToken };
        });
        const answer = create(ListTokensResponseSchema, { tokens: items, nextPageToken });
        session.print(ListTokensResponseSchema, answer, () => renderTokens(session, items));
        noteMore(session, nextPageToken);
      }),
    );
  token
    .command("reset")
    .description("Make an administrator's token in the database itself, for whoever lost theirs")
    .addHelpText("after", resetHelp)
    .action(async (_options: object, command: Command) => {
      const { resetToken } = await import("./token-reset.ts");
      await resetToken(cli, command.optsWithGlobals<TokenResetOptions>());
    });
  token
    .command("revoke")
    .argument("<id>", "the token's id")
    .description("Revoke a token at once")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, id: string, options: { reason?: string }) => {
        const answer = await session.call(method.revokeToken, { id, reason: options.reason ?? "" });
        const revoked = required(answer.token, "the record");
        session.print(OperatorTokenSchema, revoked, () => `Revoked token ${cleanText(revoked.name)}.`);
      }),
    );
}

const resetHelp = `
Needs no token, but the database: DEVICE_OTA_DATABASE_URL, or the embedded PostgreSQL in the data folder while no service runs
on it. The token is shown, and left in <data-dir>/admin-token for this command line. Other tokens go on working, and the
audit log tells of it.`;

interface TokenOptions {
  readonly name: string;
  readonly owner?: string;
  readonly product?: string[];
  readonly deviceFilter?: string;
  readonly role: Role;
  readonly expires?: Timestamp;
}

function renderTokens(session: Session, tokens: readonly OperatorToken[]): string {
  if (tokens.length === 0) return "No tokens.";
  const nowMs = Date.now();
  const columns: Column<OperatorToken>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "name", text: ({ name }) => cleanText(name) },
    { title: "owner", text: ({ owner }) => cleanText(owner) },
    { title: "role", text: ({ role }) => enumText(RoleSchema, role) },
    { title: "limited to", text: limitsText },
    { title: "created", text: ({ createTime }) => agoText(createTime, nowMs) },
    { title: "by", text: ({ creator }) => cleanText(creator) },
    { title: "last used", text: ({ lastUseTime }) => agoText(lastUseTime, nowMs) },
    { title: "validity", text: (token) => validityText(token, nowMs) },
  ];
  return renderTable(session.terminal, columns, tokens);
}

function limitsText({ products, deviceFilter }: OperatorToken): string {
  return cleanText([...products, ...(deviceFilter === "" ? [] : [deviceFilter])].join(", "));
}
