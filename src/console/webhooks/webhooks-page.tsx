import type { Webhook } from "../../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { useList } from "../data/use-list.ts";
import { useSession } from "../session/session.tsx";
import { actorName } from "../ui/actor-name.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { count } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { SecretMaker } from "../ui/secret-maker.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { ForAdministrators } from "./for-administrators.tsx";
import { NewWebhook } from "./new-webhook.tsx";
import { eventsText, secretWords, webhookStatus } from "./webhook-words.ts";

/** Receivers that events are posted or mailed to. */
export function WebhooksPage() {
  const { can } = useSession();
  return (
    <Page
      title="Webhooks"
      trail={[
        <Link key="alerts" to="/alerts">
          Alerts
        </Link>,
      ]}
      description="Receivers that alerts and other events are posted or mailed to, as they happen."
    >
      {can(WebhookService.method.listWebhooks) ? <Webhooks /> : <ForAdministrators />}
    </Page>
  );
}

function Webhooks() {
  const pages = useList(WebhookService.method.listWebhooks, {}, ({ webhooks }) => webhooks);
  return (
    <Section
      title="Receivers"
      flush
      actions={
        <SecretMaker
          label="New webhook"
          secretTitle={secretWords.title}
          hint={secretWords.hint}
          form={(made) => <NewWebhook made={made} />}
        />
      }
    >
      <DataTable
        name="webhooks"
        columns={columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={
          <Nothing title="No webhooks">
            Make one to have alerts in your chat, your pager or your mailbox.
          </Nothing>
        }
      />
    </Section>
  );
}

const columns: readonly Column<Webhook>[] = [
  {
    id: "name",
    header: "Name",
    cell: ({ id, name }) => (
      <Link to="/alerts/webhooks/$webhookId" params={{ webhookId: id }} fw={600}>
        {name}
      </Link>
    ),
  },
  {
    id: "url",
    header: "To",
    cell: ({ url }) => <span style={{ overflowWrap: "anywhere" }}>{url}</span>,
    wide: true,
  },
  { id: "events", header: "Events", cell: eventsText, wide: true },
  { id: "status", header: "Status", cell: (webhook) => <Status {...webhookStatus(webhook)} /> },
  { id: "pending", header: "Waiting", cell: ({ pendingCount }) => count(pendingCount), numeric: true },
  { id: "creator", header: "Made by", cell: ({ creator }) => actorName(creator), wide: true },
  { id: "created", header: "Made", cell: ({ createTime }) => <TimeAgo at={createTime} />, wide: true },
];
