import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { execute } from "../support/global-setup.ts";
import { HttpReceiver } from "../support/http-receiver.ts";
import { startTestService } from "../support/service.ts";

/** What a receiver of errors hears of a service whose database lost a table. */

it("an error that nobody foresaw is sent with its place and its call, without secrets and what callers wrote", async () => {
  await using receiver = await HttpReceiver.start();
  await using service = await startTestService({
    settings: {
      DEVICE_OTA_SENTRY_DSN: `${receiver.url.replace("//", "//public-key@")}/42`,
      DEVICE_OTA_SENTRY_ENVIRONMENT: "the-tests",
    },
    log: () => undefined,
  });
  await execute(service.databaseUrl, "ALTER TABLE audit_events RENAME TO audit_events_gone");
  const answer = await fetch(`${service.httpUrl}/api/v1/audit?actor=somebody-secret`, {
    headers: { authorization: `Bearer ${service.adminToken}`, "x-request-id": "request-of-mine" },
  });
  expect(answer.status).toBe(500);
  const { path, headers, body } = await eventually(() => {
    const found = receiver.requests.find((request) => request.body.includes("request-of-mine"));
    if (found === undefined) throw new Error("nothing came");
    return found;
  });
  expect(path).toBe("/api/42/envelope/");
  expect(headers["x-sentry-auth"]).toContain("sentry_key=public-key");
  const event = JSON.parse(body.split("\n")[2] ?? "");
  expect(event).toMatchObject({
    environment: "the-tests",
    level: "error",
    tags: { method: "ota.v1.AccessService/ListAuditEvents", door: "rest", requestId: "request-of-mine" },
  });
  expect(event.exception.values.at(-1).value).toMatch(/^42P01: /);
  expect(JSON.stringify(event.exception)).toContain("src/");
  for (const secret of [service.adminToken, service.enrolmentKey, "somebody-secret", service.dataDir])
    expect(receiver.text).not.toContain(secret);
});
