import { useQuery } from "@connectrpc/connect-query";
import { Skeleton } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import type { Webhook } from "../../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { useSession } from "../session/session.tsx";
import { actorName } from "../ui/actor-name.ts";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { Time } from "../ui/time.tsx";
import { DeliveryList } from "./delivery-list.tsx";
import { ForAdministrators } from "./for-administrators.tsx";
import { WebhookActions } from "./webhook-actions.tsx";
import { eventsText, formatNames, webhookStatus } from "./webhook-words.ts";

const route = getRouteApi("/alerts/webhooks/$webhookId");

/** One receiver: what it is for, what became of its deliveries, and what can be done about those. */
export function WebhookPage() {
  const { can } = useSession();
  if (can(WebhookService.method.listWebhooks)) return <ReadWebhook />;
  return (
    <Page title="Webhook" trail={trail}>
      <ForAdministrators />
    </Page>
  );
}

function ReadWebhook() {
  const { webhookId } = route.useParams();
  const { data, error, refetch } = useQuery(
    WebhookService.method.listWebhooks,
    {},
    { refetchInterval: refreshMs },
  );
  const webhook = data?.webhooks.find(({ id }) => id === webhookId);
  if (webhook !== undefined) return <ShownWebhook webhook={webhook} />;
  return (
    <Page title="Webhook" trail={trail}>
      {error !== null && <Failure error={error} doing="show this webhook" retry={refetch} />}
      {error === null && data === undefined && <Skeleton h={320} />}
      {data !== undefined && (
        <Nothing title="There is no such webhook">Somebody may have deleted it.</Nothing>
      )}
    </Page>
  );
}

function ShownWebhook({ webhook }: { readonly webhook: Webhook }) {
  return (
    <Page
      title={webhook.name}
      trail={trail}
      aside={<Status {...webhookStatus(webhook)} />}
      actions={<WebhookActions webhook={webhook} />}
    >
      <Section title="About it">
        <Facts
          facts={[
            ["To", webhook.url],
            ["Form", formatNames[webhook.format]],
            ["Events", eventsText(webhook)],
            ["Waiting", count(webhook.pendingCount)],
            ["Given up", count(webhook.deadCount)],
            ["Made", <Time key="m" at={webhook.createTime} />],
            ["Made by", actorName(webhook.creator)],
          ]}
        />
      </Section>
      <DeliveryList webhook={webhook} />
    </Page>
  );
}

const trail = [
  <Link key="alerts" to="/alerts">
    Alerts
  </Link>,
  <Link key="webhooks" to="/alerts/webhooks">
    Webhooks
  </Link>,
];

const refreshMs = 5_000;
