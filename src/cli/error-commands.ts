import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type ErrorGroup, ErrorGroupState } from "../../gen/ota/v1/error_group_pb.js";
import {
  ErrorService,
  type GetErrorGroupResponse,
  GetErrorGroupResponseSchema,
  ListErrorGroupsResponseSchema,
  UpdateErrorGroupResponseSchema,
} from "../../gen/ota/v1/error_service_pb.js";
import { groupFacts, stateText } from "./error-group-facts.ts";
import { agoText, cleanText, timeText } from "./format.ts";
import { addMergeCommands, addRuleCommands } from "./grouping-commands.ts";
import { filterOption, limitOption, noteMore, readPages } from "./paging.ts";
import { parseEnumValue, parseSince } from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { addLinesCommand } from "./symbol-commands.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** `error`: what goes wrong on devices, by cause. */
export function addErrorCommands(program: Command, cli: Cli): void {
  const error = program.command("error").description("Errors and crashes of devices, grouped by cause");
  error
    .command("list")
    .description("List error groups, the latest seen first")
    .option("--state <states>", "only these: open, resolved, ignored", parseEnumValue(ErrorGroupState))
    .option("--fatal", "only crashes")
    .option("--firmware-version <version>", "only those that this version showed")
    .option("--type <type>", "only those that devices of this type showed")
    .option("--new-since <time>", "only those first seen since: a time, or such as 1h", parseSince)
    .option("--text <text>", "only those with this text in their title or code")
    .addOption(filterOption("fatal = true device_count > 10"))
    .addOption(limitOption())
    .action(withSession(cli, listGroups));

  error
    .command("show")
    .argument("<id>", REFERENCE)
    .description("Show an error group with its newest occurrence")
    .action(
      withSession(cli, async (session, id: string) => {
        const answer = await session.call(ErrorService.method.getErrorGroup, { id });
        session.print(GetErrorGroupResponseSchema, answer, () => renderDetails(session.terminal, answer));
      }),
    );

  const decide = (name: string, state: ErrorGroupState, description: string): void => {
    const command = error
      .command(name)
      .argument("<id>", REFERENCE)
      .description(description)
      .option("--reason <text>", "why, for the audit log");
    if (state === ErrorGroupState.RESOLVED) {
      command.option(
        "--in <version>",
        "the highest version that still has it (default: the highest that showed it); a higher one that shows it reopens it",
      );
    }
    command.action(
      withSession(cli, async (session, id: string, options: { reason?: string; in?: string }) => {
        const answer = await session.call(ErrorService.method.updateErrorGroup, {
          id,
          state,
          resolvedVersion: options.in ?? "",
          reason: options.reason ?? "",
        });
        session.print(UpdateErrorGroupResponseSchema, answer, () =>
          renderFacts(session.terminal, groupFacts(answer.group)),
        );
      }),
    );
  };
  decide("resolve", ErrorGroupState.RESOLVED, "Say that it is mended");
  decide("ignore", ErrorGroupState.IGNORED, "Let it be: it is counted, and never reopened by itself");
  decide("reopen", ErrorGroupState.OPEN, "Say that somebody should look");
  addLinesCommand(error, cli);
  addMergeCommands(error, cli);
  addRuleCommands(error, cli);
}

const REFERENCE = "the group's id";

async function listGroups(
  session: Session,
  options: {
    limit: number;
    state?: number[];
    fatal?: boolean;
    firmwareVersion?: string;
    type?: string;
    newSince?: Timestamp;
    text?: string;
    filter?: string;
  },
): Promise<void> {
  const filter = {
    states: options.state ?? [],
    fatalOnly: options.fatal === true,
    firmwareVersion: options.firmwareVersion ?? "",
    deviceType: options.type ?? "",
    text: options.text ?? "",
    filter: options.filter ?? "",
    ...(options.newSince === undefined ? {} : { firstSeenSince: options.newSince }),
  };
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(ErrorService.method.listErrorGroups, { ...filter, ...page });
    return { items: answer.groups, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListErrorGroupsResponseSchema, { groups: items, nextPageToken });
  session.print(ListErrorGroupsResponseSchema, answer, () =>
    items.length === 0 ? "No errors." : renderGroups(session.terminal, items, Date.now()),
  );
  noteMore(session, nextPageToken);
}

function renderGroups(terminal: Terminal, groups: readonly ErrorGroup[], nowMs: number): string {
  const columns: Column<ErrorGroup>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "state", text: stateText },
    { title: "what", text: ({ title }) => cleanText(title) },
    { title: "crash", text: ({ fatal }) => (fatal ? "yes" : "-") },
    { title: "times", text: ({ occurrenceCount }) => String(occurrenceCount), align: "right" },
    { title: "devices", text: ({ deviceCount }) => String(deviceCount), align: "right" },
    { title: "since", text: ({ firstSeenVersion }) => cleanText(firstSeenVersion) || "-" },
    { title: "seen", text: ({ lastSeenTime }) => agoText(lastSeenTime, nowMs) },
  ];
  return renderTable(terminal, columns, groups);
}

function renderDetails(
  terminal: Terminal,
  { group, mergedGroups, newestOccurrence }: GetErrorGroupResponse,
): string {
  const merged = mergedGroups.map(
    ({ id, title }) => [`merged ${id.slice(-12)}`, `${id}: ${cleanText(title)}`] as const,
  );
  const facts = renderFacts(terminal, [...groupFacts(group), ...merged]);
  const report = newestOccurrence?.report;
  if (newestOccurrence === undefined || report === undefined) return facts;
  const context = Object.entries(report.context).map(([name, value]) => `${name}=${value}`);
  const newest = renderFacts(terminal, [
    ["newest", timeText(newestOccurrence.receiveTime)],
    ["device", newestOccurrence.deviceId],
    ["version", cleanText(newestOccurrence.firmwareVersion) || "-"],
    ["message", cleanText(report.message) || "-"],
    ["context", context.length === 0 ? undefined : cleanText(context.join(", "))],
    ["crash log", report.crashLogId === "" ? undefined : report.crashLogId],
  ]);
  const stack = report.stack.split("\n").map((line) => `  ${cleanText(line)}`);
  return [facts, "", newest, ...(report.stack === "" ? [] : ["", ...stack])].join("\n");
}
