import { create, toJsonString } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError, Option } from "commander";
import {
  type AuditEvent,
  AuditEventSchema,
  type AuditFault,
  AuditFaultKind,
  type AuditPlace,
} from "../../gen/ota/v1/access_pb.js";
import {
  AccessService,
  ListAuditEventsResponseSchema,
  VerifyAuditLogResponseSchema,
} from "../../gen/ota/v1/access_service_pb.js";
import { placeOf, readAnchors } from "./audit-anchors.ts";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText, countText, timeText } from "./format.ts";
import { filterOption, limitOption, noteMore, readPages } from "./paging.ts";
import { parseSince } from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

const { method } = AccessService;

/** `audit …`: who did what, and whether the record of it is whole. */
export function addAuditCommands(program: Command, cli: Cli): void {
  const audit = program.command("audit").description("Who did what, when and why");
  withFilters(audit.command("list", { isDefault: true }).description("List audit events, newest first"))
    .addOption(limitOption())
    .action(withSession(cli, listAuditEvents));
  withFilters(
    audit
      .command("export")
      .description("Write audit events to standard output, newest first, with all that is known"),
  )
    .addOption(
      new Option("--format <format>", "a JSON object a line, or a table")
        .choices(["ndjson", "csv"])
        .default("ndjson"),
    )
    .action(withSession(cli, exportAuditEvents));
  audit
    .command("verify")
    .description("Check the audit log's hash chain; exit code 5 says that it is not what it was")
    .option("--anchor <sequence:hash>", "a place that the chain must have; may be repeated", collectPlace)
    .option("--anchors <file>", "the service's log: the chain must have every `audit.anchor` in it")
    .option("--after <sequence:hash>", "begin after this place, which was verified before", parsePlace)
    .action(withSession(cli, verifyAuditLog));
}

interface FilterOptions {
  readonly resource?: string;
  readonly resourceType?: string;
  readonly action?: string;
  readonly actor?: string;
  readonly since?: Timestamp;
  readonly until?: Timestamp;
  readonly filter?: string;
}

function withFilters(command: Command): Command {
  return command
    .option("--resource <id>", "only what happened to this")
    .option("--resource-type <type>", "only what happened to things of this kind, for example rollout")
    .option("--action <action>", "only this action, for example rollout.rollback")
    .option("--actor <actor>", "only by this one, for example operator:alice")
    .option("--since <time>", "from then on: 2026-12-31, or 90d for so long ago", parseSince)
    .option("--until <time>", "before then", parseSince)
    .addOption(filterOption('action = "rollout.*" -actor:system'));
}

function filterOf({
  resource = "",
  resourceType = "",
  action = "",
  actor = "",
  since,
  until,
  filter = "",
}: FilterOptions) {
  return {
    resourceId: resource,
    resourceType,
    action,
    actor,
    filter,
    ...(since === undefined ? {} : { startTime: since }),
    ...(until === undefined ? {} : { endTime: until }),
  };
}

async function listAuditEvents(session: Session, options: FilterOptions & { limit: number }): Promise<void> {
  const filter = filterOf(options);
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(method.listAuditEvents, { ...filter, ...page });
    return { items: answer.events, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListAuditEventsResponseSchema, { events: items, nextPageToken });
  session.print(ListAuditEventsResponseSchema, answer, () => renderAuditEvents(session, items));
  noteMore(session, nextPageToken);
}

async function exportAuditEvents(
  session: Session,
  options: FilterOptions & { format: "csv" | "ndjson" },
): Promise<void> {
  const filter = filterOf(options);
  const line =
    options.format === "csv" ? csvLine : (event: AuditEvent) => toJsonString(AuditEventSchema, event);
  if (options.format === "csv") session.terminal.out(csvColumns.map(({ name }) => name).join(","));
  let pageToken = "";
  do {
    const answer = await session.call(method.listAuditEvents, {
      ...filter,
      pageSize: exportPageSize,
      pageToken,
    });
    if (answer.events.length > 0) session.terminal.out(answer.events.map(line).join("\n"));
    pageToken = answer.nextPageToken;
  } while (pageToken !== "");
}

const exportPageSize = 1_000;

const csvColumns: readonly { readonly name: string; readonly text: (event: AuditEvent) => string }[] = [
  { name: "time", text: ({ time }) => (time === undefined ? "" : timestampDate(time).toISOString()) },
  { name: "id", text: ({ id }) => id },
  { name: "actor", text: ({ actor }) => actor },
  { name: "action", text: ({ action }) => action },
  { name: "resource_type", text: ({ resourceType }) => resourceType },
  { name: "resource_id", text: ({ resourceId }) => resourceId },
  { name: "reason", text: ({ reason }) => reason },
  { name: "details", text: ({ details }) => JSON.stringify(details) },
  { name: "address", text: ({ address }) => address },
  { name: "request_id", text: ({ requestId }) => requestId },
];

function csvLine(event: AuditEvent): string {
  return csvColumns.map(({ text }) => csvCell(text(event))).join(",");
}

/** What a spreadsheet would calculate gets an apostrophe before it: a reason may be anybody's words. */
function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}

async function verifyAuditLog(
  session: Session,
  options: { anchor?: AuditPlace[]; anchors?: string; after?: AuditPlace },
): Promise<void> {
  const anchors = [
    ...(options.anchor ?? []),
    ...(options.anchors === undefined ? [] : await readAnchors(options.anchors)),
  ];
  let after = options.after;
  let checked = 0;
  for (;;) {
    const answer = await session.call(method.verifyAuditLog, {
      anchors,
      ...(after === undefined ? {} : { after }),
    });
    checked += answer.checkedCount;
    if (answer.fault !== undefined) {
      throw new CliError(
        exitCodes.precondition,
        `the audit log is not what it was: ${faultText(answer.fault)}; ${countText(checked, "link")} before it ${checked === 1 ? "is" : "are"} as they were`,
      );
    }
    after = answer.through;
    if (!answer.complete) continue;
    const whole = create(VerifyAuditLogResponseSchema, { ...answer, checkedCount: checked });
    session.print(VerifyAuditLogResponseSchema, whole, () => wholeText(checked, after, anchors.length));
    return;
  }
}

function wholeText(checked: number, through: AuditPlace | undefined, anchors: number): string {
  const place = through === undefined ? "It is empty." : `It ends with ${through.sequence}:${through.hash}`;
  const known =
    anchors === 0 ? "no place was given that it must have" : `it has ${countText(anchors, "given place")}`;
  return `The audit log is whole: ${countText(checked, "link")} verified, and ${known}.\n${place}`;
}

function faultText({ kind, sequence, eventId }: AuditFault): string {
  const event = eventId === "" ? "" : ` (event ${cleanText(eventId)})`;
  switch (kind) {
    case AuditFaultKind.LINK_MISSING:
      return `link ${sequence} was taken out`;
    case AuditFaultKind.EVENT_MISSING:
      return sequence === 0n
        ? `event ${cleanText(eventId)} was deleted`
        : `the event of link ${sequence}${event} was deleted`;
    case AuditFaultKind.CHANGED:
      return `link ${sequence}${event} was changed or moved, or its event was`;
    case AuditFaultKind.NOT_LINKED:
      return `event ${cleanText(eventId)} was put in beside the chain`;
    case AuditFaultKind.ANCHOR_DIFFERS:
      return `link ${sequence}${event} is another one than was known`;
    case AuditFaultKind.CUT_OFF:
      return `link ${sequence}, which was known, was cut off the end`;
    default:
      return `link ${sequence}${event}`;
  }
}

function collectPlace(text: string, before: readonly AuditPlace[] = []): AuditPlace[] {
  return [...before, parsePlace(text)];
}

function parsePlace(text: string): AuditPlace {
  const place = placeOf(text);
  if (place !== undefined) return place;
  throw new InvalidArgumentError("Write a sequence number, a colon, and a hash of 64 digits.");
}

function renderAuditEvents(session: Session, events: readonly AuditEvent[]): string {
  if (events.length === 0) return "No events.";
  const columns: Column<AuditEvent>[] = [
    { title: "time", text: ({ time }) => timeText(time) },
    { title: "who", text: ({ actor }) => cleanText(actor) },
    { title: "what", text: ({ action }) => cleanText(action) },
    { title: "to", text: ({ resourceType, resourceId }) => cleanText(`${resourceType} ${resourceId}`) },
    { title: "why", text: ({ reason }) => cleanText(reason) },
  ];
  return renderTable(session.terminal, columns, events);
}
