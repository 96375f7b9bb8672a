import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** What a receiver was sent. */
export interface ReceivedMessage {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly json: ReceivedJson;
}

/** What is looked at of a message: a CloudEvent, or a text. */
interface ReceivedJson {
  readonly type?: string;
  readonly text?: string;
}

/** A receiver of webhooks, which answers as the test says. */
export class WebhookReceiver implements AsyncDisposable {
  readonly received: ReceivedMessage[] = [];
  /** Answers a message; with 204 unless the test says otherwise. */
  answer: (message: ReceivedMessage, response: ServerResponse) => void = (_, response) =>
    void response.writeHead(204).end();
  readonly #server: Server;

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  private constructor() {
    this.#server = createServer((request, response) => void this.#receive(request, response));
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    const message = {
      path: request.url ?? "",
      headers: request.headers,
      body,
      json: JSON.parse(body) as ReceivedJson,
    };
    this.received.push(message);
    this.answer(message, response);
  }

  url(path = "/"): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  /** What was sent to a path, in order. */
  at(path: string): ReceivedMessage[] {
    return this.received.filter((message) => message.path === path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
