import { createHash } from "node:crypto";
import type { Mail } from "../../infra/smtp/smtp-server.ts";
import type { FleetEvent } from "../event-feed.ts";
import { mailAddressOf } from "./webhook-address.ts";
import type { Dispatch } from "./webhook-outbox.ts";

/**
 * The e-mail that tells of events, as text and as HTML that loads nothing. What devices and people said stands in it as words: it makes no header,
 * no markup and no link. A repeat with the same events has the same `Message-ID`, so that a mailbox that knows repeats shows one.
 */
export function webhookMail(
  { webhook, deliveries }: Dispatch,
  { from, publicUrl }: { readonly from: string; readonly publicUrl: string | undefined },
  now: Date,
): Mail {
  const events = deliveries.map(({ event }) => event);
  const entries = events.map((event) => entryOf(event, publicUrl));
  const sender = from.slice(from.lastIndexOf("@") + 1);
  const id = createHash("sha256").update([webhook.id, ...events.map((event) => event.id)].join("/"));
  const footer = [
    `Sent at ${instantText(now)} by device-ota, for its webhook “${wordsOf(webhook.name)}” (${webhook.id}). An administrator changes what it is for.`,
  ];
  return {
    to: mailAddressOf(webhook.url),
    subject: shortened(`[device-ota] ${subjectOf(events)}`, maxSubject),
    text: [...entries.map(entryText), ["-- ", ...footer].join("\r\n")].join("\r\n\r\n"),
    html: htmlOf(entries, footer),
    messageId: `<${id.digest("hex").slice(0, 32)}@${sender}>`,
    headers: {
      // RFC 3834: nobody's holiday note answers it.
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "List-Id": `<${webhook.id}.device-ota.${sender}>`,
    },
  };
}

/** An event as a mail has it. */
interface Entry {
  readonly headline: string;
  readonly about: string;
  readonly time: string;
  readonly link: string | undefined;
}

function entryOf(event: FleetEvent, publicUrl: string | undefined): Entry {
  const { resourceType, resourceId, occurredAt } = event;
  const page = publicUrl === undefined ? undefined : pages[resourceType];
  return {
    headline: shortened(headlineOf(event), maxHeadline),
    about: wordsOf(`${resourceType} ${resourceId}`),
    time: instantText(occurredAt),
    link:
      page === undefined || resourceId === ""
        ? publicUrl
        : `${publicUrl}${page}/${encodeURIComponent(resourceId)}`,
  };
}

/** What happened, in one line. */
function headlineOf({ type, summary, details, resourceType, resourceId }: FleetEvent): string {
  const { rule = "", severity = "" } = details;
  const what =
    type === "alert.firing"
      ? `${severity.toLowerCase()} ${rule}`
      : type === "alert.resolved"
        ? `resolved ${rule}`
        : type;
  return wordsOf(`${what}: ${summary === "" ? `${resourceType} ${resourceId}` : summary}`);
}

/** Of one event what it says, of several how many of which kind. */
function subjectOf(events: readonly FleetEvent[]): string {
  const [only] = events;
  if (only !== undefined && events.length === 1) return headlineOf(only);
  const firing = events.filter(({ type }) => type === "alert.firing");
  const critical = firing.filter(({ details }) => details["severity"] === "CRITICAL").length;
  const resolved = events.filter(({ type }) => type === "alert.resolved").length;
  const counts = [
    [critical, "critical"],
    [firing.length - critical, "warning"],
    [resolved, "resolved"],
    [events.length - firing.length - resolved, "other"],
  ] as const;
  const parts = counts.filter(([count]) => count > 0).map(([count, kind]) => `${count} ${kind}`);
  return `${events.length} events${firing.length + resolved === 0 ? "" : `: ${parts.join(", ")}`}`;
}

function entryText({ headline, about, time, link }: Entry): string {
  return [headline, about, time, ...(link === undefined ? [] : [link])].join("\r\n");
}

function htmlOf(entries: readonly Entry[], footer: readonly string[]): string {
  const blocks = entries.map(({ headline, about, time, link }) => {
    const title =
      link === undefined ? escaped(headline) : `<a href="${escaped(link)}">${escaped(headline)}</a>`;
    return `<p>${title}<br><small>${escaped(about)} · ${escaped(time)}</small></p>`;
  });
  return `<!doctype html>
<html lang="en"><body style="font-family:sans-serif">
${blocks.join("\n")}
<hr><p><small>${footer.map(escaped).join("<br>")}</small></p>
</body></html>
`;
}

/** Without anything that ends a line, turns its direction or is invisible; URLs are written so that no mail program makes a link of them. */
function wordsOf(text: string): string {
  return text
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll("://", "[:]//")
    .trim();
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function shortened(text: string, most: number): string {
  const characters = Array.from(text);
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join("")}…`;
}

function instantText(instant: Date): string {
  return `${instant.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Where the console shows what an event is about. */
const pages: Readonly<Record<string, string>> = {
  device: "/devices",
  error_group: "/crashes",
  firmware: "/firmware",
  rollout: "/rollouts",
  webhook: "/alerts/webhooks",
};

const maxSubject = 160;

const maxHeadline = 400;
