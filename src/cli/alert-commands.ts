import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  type Alert,
  AlertSchema,
  AlertSeveritySchema,
  AlertState,
  AlertStateSchema,
  EventSchema,
} from "../../gen/ota/v1/alert_pb.js";
import { AlertService, ListAlertsResponseSchema } from "../../gen/ota/v1/alert_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { agoText, cleanText, enumText, timeText } from "./format.ts";
import { filterOption, limitOption, noteMore, readPages } from "./paging.ts";
import { remedyText } from "./remedy-text.ts";
import { type Cli, jsonText, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

const { method } = AlertService;

/** `alerts …`: what needs a person, and what happens. */
export function addAlertCommands(program: Command, cli: Cli): void {
  const alerts = program.command("alerts").description("What needs a person, and what happens");
  alerts
    .command("list", { isDefault: true })
    .description("List alerts that fire, the newest first")
    .option("--all", "those that are resolved as well")
    .option("--unacknowledged", "only those that nobody has acknowledged")
    .option("--acknowledged", "only those that somebody has acknowledged")
    .option("--rule <rule>", "only of this rule, for example rollout.paused")
    .option("--resource <id>", "only about this")
    .addOption(filterOption("severity = CRITICAL"))
    .addOption(limitOption())
    .action(withSession(cli, listAlerts));
  alerts
    .command("ack")
    .argument("<id>", "the alert's id, as `alerts list` shows it")
    .description("Take note of an alert: it goes on firing until what it is about is over")
    .option("--note <text>", "what is being done about it")
    .action(
      withSession(cli, async (session, id: string, { note = "" }: { note?: string }) => {
        const { alert = create(AlertSchema) } = await session.call(method.acknowledgeAlert, { id, note });
        session.print(AlertSchema, alert, () => `Acknowledged by ${cleanText(alert.acknowledger)}.`);
      }),
    );
  alerts
    .command("watch")
    .description("Follow what happens, a line an event (with --json: a JSON object a line)")
    .option("--cursor <cursor>", "go on behind this event; 0: from the oldest that is kept")
    .action(withSession(cli, watchEvents));
}

interface ListOptions {
  readonly all?: boolean;
  readonly unacknowledged?: boolean;
  readonly acknowledged?: boolean;
  readonly rule?: string;
  readonly resource?: string;
  readonly filter?: string;
  readonly limit: number;
}

async function listAlerts(session: Session, options: ListOptions): Promise<void> {
  const { all = false, unacknowledged = false, acknowledged = false, limit } = options;
  const { rule = "", resource: resourceId = "", filter = "" } = options;
  const state = all ? AlertState.UNSPECIFIED : AlertState.FIRING;
  let counts = { unacknowledgedCount: 0, acknowledgedCount: 0 };
  const { items, nextPageToken } = await readPages(limit, async (page) => {
    const answer = await session.call(method.listAlerts, {
      state,
      unacknowledged,
      acknowledged,
      rule,
      resourceId,
      filter,
      ...page,
    });
    counts = answer;
    return { items: answer.alerts, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListAlertsResponseSchema, {
    alerts: items,
    nextPageToken,
    unacknowledgedCount: counts.unacknowledgedCount,
    acknowledgedCount: counts.acknowledgedCount,
  });
  session.print(ListAlertsResponseSchema, answer, () => renderAlerts(session, items));
  noteMore(session, nextPageToken);
}

async function watchEvents(session: Session, { cursor = "" }: { readonly cursor?: string }): Promise<void> {
  for await (const { events } of session.stream(method.watchEvents, { cursor })) {
    for (const event of events) {
      const { time, type, resourceType, resourceId, summary } = event;
      session.terminal.out(
        session.json
          ? jsonText(EventSchema, event)
          : cleanText(`${timeText(time)}  ${type}  ${resourceType} ${resourceId}  ${summary}`),
      );
    }
  }
  if (session.signal.aborted) return;
  throw new CliError(exitCodes.unavailable, "the service ended the watch");
}

function renderAlerts(session: Session, alerts: readonly Alert[]): string {
  if (alerts.length === 0) return "Nothing needs anybody.";
  const nowMs = Date.now();
  const columns: Column<Alert>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "severity", text: ({ severity }) => enumText(AlertSeveritySchema, severity) },
    { title: "rule", text: ({ rule }) => cleanText(rule) },
    { title: "since", text: ({ fireTime }) => agoText(fireTime, nowMs) },
    { title: "state", text: stateText },
    { title: "what", text: ({ summary }) => cleanText(summary) },
  ];
  const helps = alerts.flatMap(({ id, remedies: [first] }) =>
    first === undefined ? [] : [`${id}  ${remedyText(first)}`],
  );
  return [renderTable(session.terminal, columns, alerts), ...helps].join("\n");
}

function stateText({ state, acknowledger, clearTime }: Alert): string {
  const seemsOver = state === AlertState.FIRING && clearTime !== undefined;
  const word = `${enumText(AlertStateSchema, state)}${seemsOver ? ", seems over" : ""}`;
  return acknowledger === "" ? word : `${word}, seen by ${cleanText(acknowledger)}`;
}
