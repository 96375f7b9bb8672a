import type { Socket } from "node:net";
import { cutOff, FaultProxy } from "./fault-proxy.ts";

/**
 * The steps of a flush of heartbeats, as the wire between the service and PostgreSQL shows them:
 * - `before-begin`: the service has sent the transaction, PostgreSQL has not seen it;
 * - `before-copy`: the marks are locked and moved, the service does not know that it may send rows;
 * - `before-commit`: the service has sent all rows, PostgreSQL has not seen their end;
 * - `after-commit`: the transaction is committed, the service does not know;
 * - `answered`: the service has just been told, its acknowledgements are not sent yet.
 */
export const failpoints = [
  "before-begin",
  "before-copy",
  "before-commit",
  "after-commit",
  "answered",
] as const;
export type Failpoint = (typeof failpoints)[number];

/** The flush that reached a failpoint. It stands still there until the action ends, and then goes on unless it was ended. */
interface HeldFlush {
  /** Cuts the connection. */
  cut(): void;
  /** Answers the service with an error of PostgreSQL in place of PostgreSQL, whose transaction is rolled back. */
  fail(sqlState: string, message: string): void;
}

/** What to do at a failpoint. */
export type FailpointAction = (flush: HeldFlush) => void | Promise<void>;

/**
 * A proxy in front of PostgreSQL that reads its protocol, and can so stop, break or fail a flush of heartbeats at a named
 * step. The failpoints are here and not in the service, which runs in a test exactly as it does in production.
 */
export class DatabaseProxy implements AsyncDisposable {
  /** The database's URL through the proxy. */
  readonly url: string;
  /** The same as a plain network fault: cut, refuse. */
  readonly network: FaultProxy;
  readonly #actions: Map<Failpoint, FailpointAction>;

  static async start(databaseUrl: string): Promise<DatabaseProxy> {
    const target = new URL(databaseUrl);
    const actions = new Map<Failpoint, FailpointAction>();
    const network = await FaultProxy.start(target.host, (client, server) => {
      const session = new Session(client, server, actions);
      pump(client, server, (chunk) => session.fromClient(chunk));
      pump(server, client, (chunk) => session.fromServer(chunk));
    });
    target.host = network.address;
    return new DatabaseProxy(target.href, network, actions);
  }

  private constructor(url: string, network: FaultProxy, actions: Map<Failpoint, FailpointAction>) {
    this.url = url;
    this.network = network;
    this.#actions = actions;
  }

  /** Acts whenever a flush reaches the failpoint, until {@link disarm}. */
  arm(failpoint: Failpoint, action: FailpointAction): void {
    this.#actions.set(failpoint, action);
  }

  /** Lets flushes pass a failpoint again; those that wait there go on when their action ends. */
  disarm(failpoint: Failpoint): void {
    this.#actions.delete(failpoint);
  }

  /** Holds the next flush that reaches the failpoint. Resolves when it has; call the result to let it go on. */
  hold(failpoint: Failpoint): Promise<() => void> {
    const reached = Promise.withResolvers<() => void>();
    this.arm(failpoint, () => {
      this.disarm(failpoint);
      const released = Promise.withResolvers<void>();
      reached.resolve(released.resolve);
      return released.promise;
    });
    return reached.promise;
  }

  /** Cuts the next flush that reaches the failpoint; resolves when it is done. */
  cutAt(failpoint: Failpoint): Promise<void> {
    const reached = Promise.withResolvers<void>();
    this.arm(failpoint, (flush) => {
      this.disarm(failpoint);
      flush.cut();
      reached.resolve();
    });
    return reached.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]();
  }
}

/** One connection: cuts the two byte streams into messages and knows how far a flush has come. */
class Session implements HeldFlush {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #actions: ReadonlyMap<Failpoint, FailpointAction>;
  readonly #clientMessages = new MessageReader(true);
  readonly #serverMessages = new MessageReader(false);
  #state: "idle" | "flush" | "copied" = "idle";
  #hasEnded = false;

  constructor(client: Socket, server: Socket, actions: ReadonlyMap<Failpoint, FailpointAction>) {
    this.#client = client;
    this.#server = server;
    this.#actions = actions;
  }

  cut(): void {
    this.#hasEnded = true;
    cutOff(this.#client);
    cutOff(this.#server);
  }

  fail(sqlState: string, message: string): void {
    this.#hasEnded = true;
    // Without the end of the rows PostgreSQL commits nothing, and the lost connection ends the transaction.
    cutOff(this.#server);
    this.#client.end(errorAnswer(sqlState, message));
  }

  async fromClient(chunk: Buffer): Promise<void> {
    for (const message of this.#clientMessages.read(chunk)) {
      const type = message[0];
      if (type === queryCode && message.includes(flushMark)) {
        await this.#reach("before-begin");
        this.#state = "flush";
      } else if (type === copyDoneCode && this.#state === "flush") {
        await this.#reach("before-commit");
        this.#state = "copied";
      }
      if (this.#hasEnded) return;
      this.#server.write(message);
    }
  }

  async fromServer(chunk: Buffer): Promise<void> {
    for (const message of this.#serverMessages.read(chunk)) {
      const type = message[0];
      const isEnd = type === readyCode && this.#state === "copied";
      if (type === copyInCode && this.#state === "flush") await this.#reach("before-copy");
      else if (isEnd) await this.#reach("after-commit");
      if (this.#hasEnded) return;
      this.#client.write(message);
      if (type === readyCode) this.#state = "idle";
      if (isEnd) await this.#reach("answered");
    }
  }

  async #reach(failpoint: Failpoint): Promise<void> {
    await this.#actions.get(failpoint)?.(this);
  }
}

/** Cuts bytes into messages: a type, a length that counts itself, a body; a client's first one has no type. */
class MessageReader {
  #isStartup: boolean;
  #rest: Buffer = Buffer.alloc(0);

  constructor(beginsWithStartup: boolean) {
    this.#isStartup = beginsWithStartup;
  }

  /** The messages that the chunk completes. */
  *read(chunk: Buffer): Generator<Buffer> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const head = this.#isStartup ? 0 : 1;
      if (this.#rest.length < head + 4) return;
      const length = head + this.#rest.readUInt32BE(head);
      if (this.#rest.length < length) return;
      const message = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      this.#isStartup = false;
      yield message;
    }
  }
}

/** Hands one chunk at a time on, so that a held message holds what comes behind it. */
function pump(from: Socket, to: Socket, take: (chunk: Buffer) => Promise<void>): void {
  from.on("data", (chunk: Buffer) => {
    from.pause();
    void take(chunk).then(() => from.resume());
  });
  from.on("end", () => to.end());
}

/** An ErrorResponse, then ReadyForQuery in a failed transaction. */
function errorAnswer(sqlState: string, message: string): Buffer {
  const fields = Buffer.from(`SERROR\0VERROR\0C${sqlState}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write("E", 0, "latin1");
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields, Buffer.from([readyCode, 0, 0, 0, 5, failedTransaction])]);
}

const queryCode = 0x51;
const copyDoneCode = 0x63;
const copyInCode = 0x47;
const readyCode = 0x5a;
const failedTransaction = 0x45;

/** What only the statement of a flush contains. */
const flushMark = Buffer.from("COPY device_heartbeats");
