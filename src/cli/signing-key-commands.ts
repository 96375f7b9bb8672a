import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError } from "commander";
import {
  type SignatureRequirement,
  type SigningKey,
  SigningKeyRole,
  SigningKeyRoleSchema,
  SigningKeySchema,
} from "../../gen/ota/v1/access_pb.js";
import {
  AccessService,
  ListSignatureRequirementsResponseSchema,
  ListSigningKeysResponseSchema,
  RevokeSigningKeyResponseSchema,
  SetSignatureRequirementResponseSchema,
} from "../../gen/ota/v1/access_service_pb.js";
import { validityText } from "./credential-text.ts";
import { CliError, exitCodes, required } from "./failure.ts";
import { agoText, cleanText, countText, enumText, timeText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { parseCount, parseEnumValue, parseTime } from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";

const { method } = AccessService;

/** `signing-key …`: the keys that firmware signatures are checked with, and how many of them products ask for. */
export function addSigningKeyCommands(program: Command, cli: Cli): void {
  const key = program
    .command("signing-key")
    .description("Public keys that firmware signatures are checked with");
  key
    .command("register")
    .argument("<file>", "the public key (PEM), from `firmware keygen` or openssl")
    .description("Register a public key (role admin)")
    .requiredOption("--name <name>", "whose it is")
    .option("--role <role>", ROLES, parseKeyRole, SigningKeyRole.RELEASE)
    .option("--expires <time>", `${EXPIRY} (default: never)`, parseTime)
    .action(withSession(cli, registerKey));
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
    .command("update")
    .argument("<id>", "the key's id")
    .description("Change a key's role or expiry; rollouts that lack signatures then are paused (role admin)")
    .option("--role <role>", ROLES, parseKeyRole)
    .option("--expires <time>", EXPIRY, parseTime)
    .option("--reason <text>", "why, for the audit log")
    .action(withSession(cli, updateKey));
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
  key
    .command("require")
    .argument("<product>", "the product, for example thermostat-os")
    .description("Say how many keys of each role must sign a product's firmware (role admin)")
    .option("--release <count>", "release keys; 0 for no rule", parseCount(0, 16), 0)
    .option("--security <count>", "security keys; 0 for no rule", parseCount(0, 16), 0)
    .option("--reason <text>", "why, for the audit log")
    .action(withSession(cli, setRequirement));
  key
    .command("requirements")
    .description("List what products ask for, beside what the service asks of all")
    .addOption(limitOption())
    .action(
      withSession(cli, async (session, options: { limit: number }) => {
        const { items, nextPageToken } = await readPages(options.limit, async (page) => {
          const answer = await session.call(method.listSignatureRequirements, page);
          return { items: answer.requirements, nextPageToken: answer.nextPageToken };
        });
        const answer = create(ListSignatureRequirementsResponseSchema, {
          requirements: items,
          nextPageToken,
        });
        session.print(ListSignatureRequirementsResponseSchema, answer, () =>
          renderRequirements(session, items),
        );
        noteMore(session, nextPageToken);
      }),
    );
}

const ROLES = "what it vouches for: release, security or test (counts for trials alone)";
const EXPIRY = "when its signatures count no more: 2026-12-31 or 365d";

/** One role by its name. */
function parseKeyRole(text: string): SigningKeyRole {
  const [role, ...others] = parseEnumValue(SigningKeyRole)(text);
  if (role === undefined || others.length > 0) {
    throw new InvalidArgumentError("Write release, security or test.");
  }
  return role;
}

interface KeyOptions {
  readonly role?: SigningKeyRole;
  readonly expires?: Timestamp;
  readonly reason?: string;
}

async function registerKey(
  session: Session,
  file: string,
  options: KeyOptions & { name: string },
): Promise<void> {
  const publicKeyPem = await readFile(file, "utf8");
  const { name } = options;
  const answer = await session.call(method.registerSigningKey, { name, publicKeyPem, ...changesOf(options) });
  printKey(session, answer.key);
}

async function updateKey(session: Session, id: string, options: KeyOptions): Promise<void> {
  if (options.role === undefined && options.expires === undefined) {
    throw new CliError(exitCodes.usage, "say what to change: --role or --expires");
  }
  const reason = options.reason ?? "";
  printKey(session, (await session.call(method.updateSigningKey, { id, reason, ...changesOf(options) })).key);
}

function changesOf({ role, expires }: KeyOptions): { role?: SigningKeyRole; expireTime?: Timestamp } {
  return {
    ...(role === undefined ? {} : { role }),
    ...(expires === undefined ? {} : { expireTime: expires }),
  };
}

async function setRequirement(
  session: Session,
  product: string,
  options: { release: number; security: number; reason?: string },
): Promise<void> {
  const answer = await session.call(method.setSignatureRequirement, {
    product,
    releaseSignatures: options.release,
    securitySignatures: options.security,
    reason: options.reason ?? "",
  });
  session.print(SetSignatureRequirementResponseSchema, answer, () => {
    const { requirement } = answer;
    return requirement === undefined
      ? `${cleanText(product)} asks for no more than the service does.`
      : `${cleanText(product)} asks for ${requirementText(requirement)}.`;
  });
}

function printKey(session: Session, answered: SigningKey | undefined): void {
  const key = required(answered, "the key");
  session.print(SigningKeySchema, key, () =>
    renderFacts(session.terminal, [
      ["key id", key.id],
      ["name", cleanText(key.name)],
      ["algorithm", key.signatureAlgorithm],
      ["role", enumText(SigningKeyRoleSchema, key.role)],
      ["expires", key.expireTime === undefined ? undefined : timeText(key.expireTime)],
    ]),
  );
}

function renderSigningKeys(session: Session, keys: readonly SigningKey[]): string {
  if (keys.length === 0) return "No signing keys.";
  const nowMs = Date.now();
  const columns: Column<SigningKey>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "name", text: ({ name }) => cleanText(name) },
    { title: "role", text: ({ role }) => enumText(SigningKeyRoleSchema, role) },
    { title: "algorithm", text: ({ signatureAlgorithm }) => cleanText(signatureAlgorithm) },
    { title: "registered", text: ({ createTime }) => agoText(createTime, nowMs) },
    { title: "validity", text: (key) => validityText(key, nowMs) },
  ];
  return renderTable(session.terminal, columns, keys);
}

function renderRequirements(session: Session, requirements: readonly SignatureRequirement[]): string {
  if (requirements.length === 0) return "No product asks for more than the service does.";
  const columns: Column<SignatureRequirement>[] = [
    { title: "product", text: ({ product }) => cleanText(product) },
    { title: "asks for", text: requirementText },
  ];
  return renderTable(session.terminal, columns, requirements);
}

function requirementText({ releaseSignatures, securitySignatures }: SignatureRequirement): string {
  return [
    ...(releaseSignatures > 0 ? [countText(releaseSignatures, "release key")] : []),
    ...(securitySignatures > 0 ? [countText(securitySignatures, "security key")] : []),
  ].join(" and ");
}
