import type { Command } from "commander";
import type { GroupingRule } from "../../gen/ota/v1/error_group_pb.js";
import {
  CreateGroupingRuleResponseSchema,
  DeleteGroupingRuleResponseSchema,
  ErrorService,
  ListGroupingRulesResponseSchema,
  MergeErrorGroupsResponseSchema,
  SplitErrorGroupResponseSchema,
} from "../../gen/ota/v1/error_service_pb.js";
import { groupFacts } from "./error-group-facts.ts";
import { cleanText, timeText } from "./format.ts";
import { type Cli, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** `error merge` and `error split`: which groups are one. */
export function addMergeCommands(error: Command, cli: Cli): void {
  error
    .command("merge")
    .argument("<id>", "the group that is to stand for all")
    .argument("<merged...>", "the groups to merge into it")
    .description("Make groups one: further errors of any of them count in the first")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(
        cli,
        async (session, id: string, mergedIds: string[], { reason = "" }: { reason?: string }) => {
          const answer = await session.call(ErrorService.method.mergeErrorGroups, { id, mergedIds, reason });
          session.print(MergeErrorGroupsResponseSchema, answer, () =>
            renderFacts(session.terminal, groupFacts(answer.group)),
          );
        },
      ),
    );
  error
    .command("split")
    .argument("<id>", "the merged group's id")
    .description("Take a merged group out again, with all that it counted")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, id: string, { reason = "" }: { reason?: string }) => {
        const answer = await session.call(ErrorService.method.splitErrorGroup, { id, reason });
        session.print(SplitErrorGroupResponseSchema, answer, () =>
          renderFacts(session.terminal, groupFacts(answer.group)),
        );
      }),
    );
}

/** `error rule`: what belongs together by an operator's word. */
export function addRuleCommands(error: Command, cli: Cli): void {
  const rule = error.command("rule").description("Rules by which errors are grouped before anything else");
  rule
    .command("list")
    .description("List the rules in the order in which they are tried")
    .action(
      withSession(cli, async (session) => {
        const answer = await session.call(ErrorService.method.listGroupingRules, {});
        session.print(ListGroupingRulesResponseSchema, answer, () =>
          answer.rules.length === 0 ? "No rules." : renderRules(session.terminal, answer.rules),
        );
      }),
    );
  rule
    .command("add")
    .argument("<title>", "the title of the group that its errors make")
    .description("Add a rule, the last to be tried; it holds for errors from now on")
    .option("--code <pattern>", "only with this code; * stands for any characters")
    .option("--fault <pattern>", "only with this class of the exception, or sort of the fault")
    .option("--frame <pattern>", "only with this function, and its module, among the innermost frames")
    .option("--message <pattern>", "only with this message")
    .option(
      "--fingerprint <text>",
      "what its errors have in common (default: the rule; the same text makes one group)",
    )
    .action(
      withSession(cli, async (session, title: string, conditions: Conditions) => {
        const answer = await session.call(ErrorService.method.createGroupingRule, {
          rule: { title, ...conditions },
        });
        session.print(CreateGroupingRuleResponseSchema, answer, () =>
          renderFacts(session.terminal, ruleFacts(answer.rule)),
        );
      }),
    );
  rule
    .command("delete")
    .argument("<id>", "the rule's id")
    .description("Remove a rule; the group that it made stays")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, id: string, { reason = "" }: { reason?: string }) => {
        const answer = await session.call(ErrorService.method.deleteGroupingRule, { id, reason });
        session.print(DeleteGroupingRuleResponseSchema, answer, () => `Rule ${id} is deleted.`);
      }),
    );
}

interface Conditions {
  readonly code?: string;
  readonly fault?: string;
  readonly frame?: string;
  readonly message?: string;
  readonly fingerprint?: string;
}

function renderRules(terminal: Terminal, rules: readonly GroupingRule[]): string {
  const columns: Column<GroupingRule>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "title", text: ({ title }) => cleanText(title) },
    { title: "code", text: ({ code }) => cleanText(code) || "-" },
    { title: "fault", text: ({ fault }) => cleanText(fault) || "-" },
    { title: "frame", text: ({ frame }) => cleanText(frame) || "-" },
    { title: "message", text: ({ message }) => cleanText(message) || "-" },
  ];
  return renderTable(terminal, columns, rules);
}

function ruleFacts(rule: GroupingRule | undefined): (readonly [string, string | undefined])[] {
  if (rule === undefined) return [];
  return [
    ["rule", rule.id],
    ["title", cleanText(rule.title)],
    ["code", rule.code === "" ? undefined : cleanText(rule.code)],
    ["fault", rule.fault === "" ? undefined : cleanText(rule.fault)],
    ["frame", rule.frame === "" ? undefined : cleanText(rule.frame)],
    ["message", rule.message === "" ? undefined : cleanText(rule.message)],
    ["fingerprint", cleanText(rule.fingerprint)],
    ["by", `${cleanText(rule.createdBy)}, ${timeText(rule.createTime)}`],
  ];
}
