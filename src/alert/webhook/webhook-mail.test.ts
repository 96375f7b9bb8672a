import { describe, expect, it } from "vitest";
import type { FleetEvent } from "../event-feed.ts";
import { mailAddressOf } from "./webhook-address.ts";
import { webhookMail } from "./webhook-mail.ts";

const now = new Date("2026-01-31T12:00:00.000Z");

function event(more: Partial<FleetEvent> = {}): FleetEvent {
  return {
    id: "0199f0a2-0000-7000-8000-000000000001",
    sequence: 1,
    type: "alert.firing",
    resourceType: "rollout",
    resourceId: "0199f0a2-0000-7000-8000-00000000000a",
    summary: "the rollout of pump 2.0.0 is paused: a look first",
    details: { rule: "rollout.paused", severity: "WARNING" },
    occurredAt: now,
    ...more,
  };
}

function mailOf(events: readonly [FleetEvent, ...FleetEvent[]], publicUrl?: string, name = "ops") {
  const [first, ...more] = events;
  const webhook = {
    id: "0199f0a2-0000-7000-8000-0000000000ff",
    name,
    url: "mailto:ops@example.com",
    format: "EMAIL" as const,
    secret: Buffer.alloc(0),
  };
  const deliveries = [
    { event: first, attempt: 1 },
    ...more.map((each) => ({ event: each, attempt: 1 })),
  ] as const;
  return webhookMail({ webhook, deliveries }, { from: "ota@example.org", publicUrl }, now);
}

describe("an e-mail of a webhook", () => {
  it("of one event says it in its subject, and leads to where the console shows what it is about", () => {
    const mail = mailOf([event()], "https://ota.example.com");
    const link = "https://ota.example.com/rollouts/0199f0a2-0000-7000-8000-00000000000a";
    expect(mail.to).toBe("ops@example.com");
    expect(mail.subject).toBe(
      "[device-ota] warning rollout.paused: the rollout of pump 2.0.0 is paused: a look first",
    );
    expect(mail.text).toContain(link);
    expect(mail.html).toContain(`href="${link}"`);
    expect(mail.headers).toEqual({
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "List-Id": "<0199f0a2-0000-7000-8000-0000000000ff.device-ota.example.org>",
    });
    expect(mailOf([event()]).html).not.toContain("href");
  });

  it("about another webhook leads to it", () => {
    const undelivered = event({ resourceType: "webhook", details: { rule: "webhook.undelivered" } });
    expect(mailOf([undelivered], "https://ota.example.com").text).toContain(
      "https://ota.example.com/alerts/webhooks/0199f0a2-0000-7000-8000-00000000000a",
    );
  });

  it("of several says how many of which kind, and tells each; a repeat has the same id, and other events have another", () => {
    const events = [
      event(),
      event({
        id: "2",
        details: { rule: "fleet.offline", severity: "CRITICAL" },
        summary: "half is offline",
      }),
      event({ id: "3", type: "alert.resolved", summary: "it runs again" }),
      event({ id: "4", type: "firmware.release", summary: "" }),
    ] as const;
    const mail = mailOf([...events]);
    expect(mail.subject).toBe("[device-ota] 4 events: 1 critical, 1 warning, 1 resolved, 1 other");
    for (const words of [
      "a look first",
      "half is offline",
      "it runs again",
      "firmware.release: rollout 0199",
    ]) {
      expect(mail.text).toContain(words);
      expect(mail.html).toContain(words);
    }
    expect(mailOf([...events]).messageId).toBe(mail.messageId);
    expect(mailOf([events[0]]).messageId).not.toBe(mail.messageId);
  });

  it("holds no header, markup or link that a device or a person wrote", () => {
    const words = 'x\r\nBcc: thief@example.com\u2028\u202e<img src="https://evil.example/x.png">';
    const mail = mailOf([event({ summary: words, resourceId: "a\r\nb" })], undefined, words);
    expect(mail.subject).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
    expect(mail.html).not.toMatch(/<img|https:|\u202e/);
    expect(mail.text).not.toMatch(/^Bcc|https:|\u202e/m);
    expect(mail.subject.length).toBeLessThanOrEqual(160);
    expect(mailOf([event({ summary: "y".repeat(5_000) })]).subject.length).toBe(160);
  });
});

describe("the address of an e-mail", () => {
  it.each([
    ["mailto:ops@example.com", "ops@example.com"],
    ["MAILTO:on%2Bcall@mail.example.com", "on+call@mail.example.com"],
    ["mailto:root@localhost", "root@localhost"],
  ])("is taken from %s", (url, address) => {
    expect(mailAddressOf(url)).toBe(address);
  });

  it.each([
    "mailto:",
    "mailto:ops",
    "mailto:a@example.com,b@example.com",
    "mailto:a@example.com?bcc=b@example.com",
    "mailto:a@example.com%0d%0aRCPT%20TO:b@example.com",
    "mailto:%22a@evil.example%22@example.com",
    "mailto:<a@example.com>",
    "mailto:ops%40example.com%00",
    "mailto:%zz@example.com",
    "mailto:ä@example.com",
    "https://example.com/",
  ])("is refused in %s", (url) => {
    expect(() => mailAddressOf(url)).toThrow(/^url: /);
  });
});
