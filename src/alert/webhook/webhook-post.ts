import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { publicLookup, receiverLookup, requireWebhookUrl } from "./webhook-address.ts";
import type { WebhookMessage } from "./webhook-message.ts";
import type { TryOutcome } from "./webhook-outbox.ts";

/** Posts a message. What came of it is told without what the receiver wrote. Redirects are not followed, and an answer is not read further than its status. Never rejects. */
export async function postWebhook(
  url: string,
  { body, headers }: WebhookMessage,
  { allowPrivate, signal }: { readonly allowPrivate: boolean; readonly signal: AbortSignal },
): Promise<TryOutcome> {
  try {
    const target = requireWebhookUrl(url, allowPrivate);
    const status = await new Promise<number>((resolve, reject) => {
      const send = target.protocol === "http:" ? httpRequest : httpsRequest;
      const request = send(target, {
        method: "POST",
        headers: {
          ...headers,
          "content-length": String(Buffer.byteLength(body)),
          "user-agent": "device-ota-webhook",
        },
        signal,
        agent: false,
        maxHeaderSize: maxHeaderBytes,
        lookup: allowPrivate ? receiverLookup : publicLookup,
      });
      request.on("error", reject);
      request.on("response", (response) => {
        resolve(response.statusCode ?? 0);
        response.on("error", () => undefined);
        response.destroy();
      });
      request.end(body);
    });
    const delivered = status >= 200 && status < 300;
    return { delivered, words: `the receiver answered ${status}` };
  } catch (error) {
    if (signal.aborted) return { delivered: false, words: "the receiver did not answer in time" };
    const words = error instanceof Error ? error.message : String(error);
    return { delivered: false, words: words.slice(0, maxWords) };
  }
}

const maxHeaderBytes = 16 * 1024;

const maxWords = 300;
