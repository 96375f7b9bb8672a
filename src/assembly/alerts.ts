import { AlertWatch } from "../alert/alert-watch.ts";
import { Alerts } from "../alert/alerts.ts";
import { EventFeed } from "../alert/event-feed.ts";
import { type ReplicaCheck, ReplicaSignals } from "../alert/replica-signals.ts";
import { addDeliveries } from "../alert/webhook/webhook-outbox.ts";
import { WebhookSender } from "../alert/webhook/webhook-sender.ts";
import { Webhooks } from "../alert/webhook/webhooks.ts";
import { presenceCountsOf } from "../device/fleet/fleet-counters.ts";
import { SmtpServer } from "../infra/smtp/smtp-server.ts";
import { driftPrefix } from "../rollout/model/drift-alert.ts";
import { remediesOf } from "../rollout/model/remedies.ts";
import { readRollouts } from "../rollout/model/rollout-rows.ts";
import { stuckPrefix } from "../rollout/model/stuck-alert.ts";
import { toRemedyMessage } from "../rollout/wire/warning-messages.ts";
import type { Access } from "./access.ts";
import type { Devices } from "./devices.ts";
import type { Foundation } from "./foundation.ts";
import type { Updates } from "./updates.ts";

/** What needs a person, and what happens. */
export type AlertFeature = ReturnType<typeof openAlerts>;

/** Begins to watch. `certificateEnds`: when the certificate of the ports ends, if they have one. */
export function openAlerts(
  { config, logger, clock, background, descriptors, database, idempotency, storeProbe }: Foundation,
  { audit }: Access,
  { fleet }: Devices,
  { ingest }: Updates,
  certificateEnds: () => Date | undefined,
  opened: AsyncDisposableStack,
) {
  const checks: ReplicaCheck[] = [
    {
      rule: "store.down",
      severity: "CRITICAL",
      look: async (signal) => {
        await storeProbe.check(signal);
        return undefined;
      },
    },
    {
      rule: "ingest.lag",
      severity: "CRITICAL",
      look: () => {
        ingest.checkProgress(config.outages.ingestStallMs);
        const share = ingest.rows / config.heartbeat.queueRows;
        if (share < laggingShare) return undefined;
        return `heartbeats are heard faster than they are written: ${Math.round(share * 100)} % of the queue is taken`;
      },
    },
    { rule: "descriptors.scarce", severity: "WARNING", look: () => descriptors.scarcity },
    {
      rule: "certificate.expires",
      severity: "CRITICAL",
      look: () => {
        const ends = certificateEnds();
        if (ends === undefined || ends.getTime() - clock.now().getTime() > config.alerts.expiryMs)
          return undefined;
        return `the certificate of the ports ends at ${ends.toISOString().slice(0, 16)} UTC`;
      },
    },
  ];
  const events = new EventFeed({
    database,
    retentionMs: config.alerts.retentionMs,
    clock,
    logger,
    numbered: addDeliveries,
  });
  const settings = config.webhooks;
  const email = config.email && { server: new SmtpServer(config.email.server), settings: config.email };
  const sender = opened.adopt(new WebhookSender({ database, settings, email, clock, logger }), (it) =>
    it.close(),
  );
  const watch = new AlertWatch({
    database,
    signals: new ReplicaSignals({ database, checks, clock }),
    presence: async (session) => {
      const { online, late, offline } = presenceCountsOf(await fleet.counters.read(clock.now(), session));
      return { offline, heard: online + late + offline };
    },
    settings: config.alerts,
    rolloutWords: { stuck: stuckPrefix, drift: driftPrefix },
    clock,
    logger,
  });
  for (const round of [events.round, events.purge, watch.round, sender.round]) {
    background.add(round);
    round.start();
  }
  return {
    alerts: new Alerts({ database, audit, clock }),
    events,
    webhooks: new Webhooks({ database, idempotency, audit, settings, canMail: email !== undefined }),
    rolloutRemedies: async (ids: readonly string[]) => {
      const rollouts = await readRollouts(database.pool, { ids });
      return new Map(rollouts.map((rollout) => [rollout.id, remediesOf(rollout).map(toRemedyMessage)]));
    },
  };
}

/** Of the ingest's queue: what is above needs somebody. */
const laggingShare = 0.5;
