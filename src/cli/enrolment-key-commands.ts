import { randomUUID as newRequestId } from "node:crypto";
import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type EnrolmentKey, EnrolmentKeySchema } from "../../gen/ota/v1/access_pb.js";
import {
  AccessService,
  CreateEnrolmentKeyResponseSchema,
  ListEnrolmentKeysResponseSchema,
} from "../../gen/ota/v1/access_service_pb.js";
import { expiry, secretText, validityText } from "./credential-text.ts";
import { required } from "./failure.ts";
import { agoText, cleanText, countText, listText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { collectNames, parseCount, parseTime } from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

const { method } = AccessService;

interface NewKeyOptions {
  readonly name: string;
  readonly maxUses: number;
  readonly deviceType?: string[];
  readonly serialNumber?: string[];
  readonly serialNumberPattern?: string[];
  readonly serialNumberFile?: string;
  readonly requireApproval?: boolean;
  readonly expires?: Timestamp;
}

/** `enrolment-key …`: the keys with which devices enrol. */
export function addEnrolmentKeyCommands(program: Command, cli: Cli): void {
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
    .option(
      "--serial-number <names>",
      "only these serial numbers, beside those of the other two options",
      collectNames,
    )
    .option(
      "--serial-number-pattern <patterns>",
      "only serial numbers like 'TH-2026-*' (default: all)",
      collectNames,
    )
    .option("--serial-number-file <file>", "only the serial numbers of this file, one a line")
    .option("--require-approval", "whoever enrols with it is in quarantine until `device approve`")
    .option("--expires <time>", "when it stops working: 2026-12-31 or 90d (default: never)", parseTime)
    .action(
      withSession(cli, async (session, options: NewKeyOptions) => {
        const answer = await session.call(method.createEnrolmentKey, {
          requestId: newRequestId(),
          name: options.name,
          maxUses: BigInt(options.maxUses),
          deviceTypes: options.deviceType ?? [],
          serialNumberPatterns: options.serialNumberPattern ?? [],
          serialNumbers: await serialNumbersOf(options),
          requireApproval: options.requireApproval === true,
          ...expiry(options.expires),
        });
        session.print(CreateEnrolmentKeyResponseSchema, answer, () =>
          secretText(session, "enrolment key", answer.key?.id, answer.secret),
        );
      }),
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
        const revoked = required(answer.key, "the record");
        session.print(EnrolmentKeySchema, revoked, () => `Revoked enrolment key ${cleanText(revoked.name)}.`);
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
    { title: "serial numbers", text: serialNumbersText },
    { title: "approval", text: ({ requireApproval }) => (requireApproval ? "required" : "") },
    { title: "created", text: ({ createTime }) => agoText(createTime, nowMs) },
    { title: "validity", text: (key) => validityText(key, nowMs) },
  ];
  return renderTable(session.terminal, columns, keys);
}

/** Those that are named, and the lines of the file; a byte order mark, blanks around them and empty lines do not count. */
async function serialNumbersOf({ serialNumber = [], serialNumberFile }: NewKeyOptions): Promise<string[]> {
  if (serialNumberFile === undefined) return serialNumber;
  const lines = (await readFile(serialNumberFile, "utf8")).split(/\r?\n/u).map((line) => line.trim());
  return [...serialNumber, ...lines.filter((line) => line !== "")];
}

function serialNumbersText({ serialNumberPatterns, serialNumberCount }: EnrolmentKey): string {
  const named = serialNumberCount === 0 ? [] : [countText(serialNumberCount, "named one")];
  return [...serialNumberPatterns.map(cleanText), ...named].join(", ") || "all";
}
