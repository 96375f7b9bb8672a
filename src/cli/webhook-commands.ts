import { randomUUID as newRequestId } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Command, Option } from "commander";
import {
  type WebhookDelivery,
  WebhookDeliveryState,
  WebhookDeliveryStateSchema,
  WebhookFormat,
  WebhookSchema,
} from "../../gen/ota/v1/alert_webhook_pb.js";
import {
  CreateWebhookResponseSchema,
  DeleteWebhookResponseSchema,
  ListWebhookDeliveriesResponseSchema,
  ListWebhooksResponseSchema,
  ReplayDeadLettersResponseSchema,
  TestWebhookResponseSchema,
  UpdateWebhookResponseSchema,
  WebhookService,
} from "../../gen/ota/v1/alert_webhook_service_pb.js";
import { cleanText, countText, enumText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

const { method } = WebhookService;

const formats = {
  "cloud-events": WebhookFormat.CLOUD_EVENTS,
  slack: WebhookFormat.SLACK,
  email: WebhookFormat.EMAIL,
};

/** `webhook …`: receivers of events. */
export function addWebhookCommands(program: Command, cli: Cli): void {
  const webhook = program.command("webhook").description("Receivers of events (role admin)");
  webhook
    .command("create")
    .argument("<name>", "for people")
    .argument("<url>", "where to post to, or mailto: and an address")
    .description("Make a webhook; shows the secret that its messages are signed with, once")
    .addOption(
      new Option("--format <format>", "how to tell (default: email for mailto:, else cloud-events)").choices(
        Object.keys(formats),
      ),
    )
    .option("--event <types...>", "only these events: types, or beginnings with a star, such as alert.*")
    .action(withSession(cli, createWebhook));
  webhook.command("list").description("List webhooks").action(withSession(cli, listWebhooks));
  webhook
    .command("update")
    .argument("<id>", "the id of the webhook, as `webhook list` shows it")
    .description("Change a webhook")
    .option("--url <url>", "post to this from now on")
    .option("--disable", "send nothing for now")
    .option("--enable", "send again, also what waited")
    .option("--rotate-secret", "make a new secret and show it, once")
    .action(withSession(cli, updateWebhook));
  webhook
    .command("delete")
    .argument("<id>", "the id of the webhook, as `webhook list` shows it")
    .description("Delete a webhook with its deliveries")
    .action(
      withSession(cli, async (session, id: string) => {
        const answer = await session.call(method.deleteWebhook, { id });
        session.print(DeleteWebhookResponseSchema, answer, () => "Deleted.");
      }),
    );
  webhook
    .command("test")
    .argument("<id>", "the id of the webhook, as `webhook list` shows it")
    .description("Send an event of type webhook.test")
    .action(
      withSession(cli, async (session, id: string) => {
        const answer = await session.call(method.testWebhook, { id });
        session.print(TestWebhookResponseSchema, answer, () => `Event ${answer.eventId} is on its way.`);
      }),
    );
  webhook
    .command("deliveries")
    .argument("<id>", "the id of the webhook, as `webhook list` shows it")
    .description("List deliveries, of the newest event first")
    .option("--dead", "only dead letters")
    .addOption(limitOption())
    .action(withSession(cli, listDeliveries));
  webhook
    .command("replay")
    .argument("<id>", "the id of the webhook, as `webhook list` shows it")
    .description("Try dead letters again")
    .option("--event <id>", "only that of this event")
    .action(
      withSession(cli, async (session, id: string, { event = "" }: { event?: string }) => {
        const answer = await session.call(method.replayDeadLetters, { id, eventId: event });
        session.print(ReplayDeadLettersResponseSchema, answer, () => {
          const count = countText(Number(answer.replayedCount), "dead letter");
          return `Replaying ${count}.`;
        });
      }),
    );
}

async function createWebhook(
  session: Session,
  name: string,
  url: string,
  options: { readonly format?: keyof typeof formats; readonly event?: string[] },
): Promise<void> {
  const answer = await session.call(method.createWebhook, {
    requestId: newRequestId(),
    name,
    url,
    format: options.format === undefined ? WebhookFormat.UNSPECIFIED : formats[options.format],
    eventTypes: options.event ?? [],
  });
  const { webhook = create(WebhookSchema), secret } = answer;
  // E-mails are not signed.
  if (secret === "") {
    session.print(CreateWebhookResponseSchema, answer, () => `Webhook ${webhook.id} sends e-mails.`);
    return;
  }
  session.print(CreateWebhookResponseSchema, answer, () => secret);
  if (!session.json)
    session.terminal.note(`\nWebhook ${webhook.id}. The secret is shown this once; keep it.`);
}

async function listWebhooks(session: Session): Promise<void> {
  const answer = await session.call(method.listWebhooks, {});
  session.print(ListWebhooksResponseSchema, answer, () => {
    if (answer.webhooks.length === 0) return "No webhooks.";
    return renderTable(
      session.terminal,
      [
        { title: "id", text: ({ id }) => id },
        { title: "name", text: ({ name }) => cleanText(name) },
        { title: "url", text: ({ url }) => cleanText(url) },
        { title: "events", text: ({ eventTypes }) => cleanText(eventTypes.join(", ")) || "all" },
        { title: "state", text: ({ disabled }) => (disabled ? "disabled" : "enabled") },
        { title: "waiting", text: ({ pendingCount }) => String(pendingCount), align: "right" },
        { title: "dead", text: ({ deadCount }) => String(deadCount), align: "right" },
      ],
      answer.webhooks,
    );
  });
}

async function updateWebhook(
  session: Session,
  id: string,
  options: { url?: string; disable?: boolean; enable?: boolean; rotateSecret?: boolean },
): Promise<void> {
  const { url, disable, enable, rotateSecret = false } = options;
  const answer = await session.call(method.updateWebhook, {
    id,
    rotateSecret,
    ...(url === undefined ? {} : { url }),
    ...(disable === true || enable === true ? { disabled: disable === true } : {}),
  });
  const { name } = answer.webhook ?? create(WebhookSchema);
  session.print(UpdateWebhookResponseSchema, answer, () =>
    answer.secret === "" ? `Changed ${cleanText(name)}.` : answer.secret,
  );
}

async function listDeliveries(
  session: Session,
  id: string,
  { dead = false, limit }: { readonly dead?: boolean; readonly limit: number },
): Promise<void> {
  const state = dead ? WebhookDeliveryState.DEAD : WebhookDeliveryState.UNSPECIFIED;
  const { items, nextPageToken } = await readPages(limit, async (page) => {
    const answer = await session.call(method.listWebhookDeliveries, { id, state, ...page });
    return { items: answer.deliveries, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListWebhookDeliveriesResponseSchema, { deliveries: items, nextPageToken });
  session.print(ListWebhookDeliveriesResponseSchema, answer, () => renderDeliveries(session, items));
  noteMore(session, nextPageToken);
}

function renderDeliveries(session: Session, deliveries: readonly WebhookDelivery[]): string {
  if (deliveries.length === 0) return "No deliveries.";
  const columns: Column<WebhookDelivery>[] = [
    { title: "event", text: ({ eventId }) => eventId },
    { title: "type", text: ({ eventType }) => cleanText(eventType) },
    { title: "state", text: ({ state }) => enumText(WebhookDeliveryStateSchema, state) },
    { title: "tries", text: ({ attemptCount }) => String(attemptCount), align: "right" },
    { title: "outcome", text: ({ outcome }) => cleanText(outcome) },
  ];
  return renderTable(session.terminal, columns, deliveries);
}
