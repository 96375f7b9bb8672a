import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { OidcIssuer } from "../support/oidc-issuer.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";

/** All that a service does by itself, as /metrics names it; with TLS also `certificate` (test/attacks/plaintext.test.ts). */
const works = [
  "administrators",
  "alerts",
  "archived_updates",
  "audit_chain",
  "client_facts",
  "clock",
  "connections_grpc",
  "connections_http",
  "content_damage",
  "content_scrub",
  "crash_logs",
  "database_clock",
  "descriptors",
  "device_boots",
  "device_checks",
  "device_states",
  "device_types",
  "drift",
  "ended_sessions",
  "error_collector",
  "event_purge",
  "events",
  "fleet_counters",
  "fleet_watch",
  "heartbeat_faults",
  "housekeeping",
  "listener",
  "metric_catalogue",
  "notifications",
  "oidc_issuer",
  "open_calls",
  "orphans",
  "partitions_device_heartbeats",
  "partitions_heartbeat_rollups_1h",
  "partitions_heartbeat_rollups_5m",
  "pending_requests",
  "positions",
  "presence",
  "rate_reports",
  "recalls",
  "refused_calls",
  "ring_census",
  "roll_ups",
  "rollout_decisions",
  "rollout_signatures",
  "rollouts",
  "signing_keys",
  "token_uses",
  "tuf_metadata",
  "unauthenticated_calls",
  "unread_answers",
  "update_transitions",
  "version_history",
  "webhooks",
];

it("metrics name all that goes on in the background, and none of it fails", async () => {
  await using database = await createTestDatabase();
  await using issuer = await OidcIssuer.start();
  await using service = await startTestService({ databaseUrl: database.url, settings: issuer.settings });
  const runs = async (outcome: string): Promise<Map<string, number>> => {
    const text = await (await fetch(`${service.httpUrl}/metrics`)).text();
    const pattern = new RegExp(
      `^device_ota_background_runs_total\\{work="(\\w+)",outcome="${outcome}"\\} (\\d+)$`,
      "gm",
    );
    return new Map([...text.matchAll(pattern)].map(([, work = "", count]) => [work, Number(count)]));
  };
  expect([...(await runs("ok")).keys()].toSorted()).toEqual(works);
  await eventually(async () => {
    const ok = await runs("ok");
    for (const work of ["clock", "rollouts", "presence", "housekeeping", "roll_ups", "error_collector"])
      expect(ok.get(work)).toBeGreaterThan(0);
  });
  expect([...(await runs("failed"))].filter(([, count]) => count > 0)).toEqual([]);
});
