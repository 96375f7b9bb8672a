import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

type Target = { readonly host: string; readonly port: number } | { readonly path: string };

/** How a proxy joins the two ends of a connection. */
export type Link = (client: Socket, server: Socket) => void;

/**
 * A network between two programs that a test may break: it slows traffic down, swallows it, cuts connections or refuses
 * new ones. A new proxy passes everything on at once.
 */
export class FaultProxy implements AsyncDisposable {
  readonly #target: Target;
  readonly #link: Link;
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  #delayMs = 0;
  #isBlackHole = false;
  #refuses = false;
  #accepted = 0;

  /**
   * A proxy in front of `target`, `host:port`, or, as in a database's URL, the folder of PostgreSQL's Unix socket with its
   * slashes encoded. `link` replaces the plain passing on of bytes; `at` is where it listens, any port unless given.
   */
  static async start(
    target: string,
    link?: Link,
    at: { readonly host: string; readonly port: number } = { host: "127.0.0.1", port: 0 },
  ): Promise<FaultProxy> {
    const { hostname, port } = new URL(`tcp://${target}`);
    const folder = decodeURIComponent(hostname);
    const place = folder.startsWith("/")
      ? { path: `${folder}/.s.PGSQL.5432` }
      : { host: hostname, port: Number(port) };
    const proxy = new FaultProxy(place, link);
    proxy.#listener.listen(at);
    await once(proxy.#listener, "listening");
    return proxy;
  }

  private constructor(target: Target, link?: Link) {
    this.#target = target;
    this.#link = link ?? ((client, server) => this.#pass(client, server));
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  /** Where to connect, `host:port`. */
  get address(): string {
    const address = this.#listener.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return `${address.address}:${address.port}`;
  }

  /** Connections that were ever made through it. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Delays every chunk of bytes, in both directions. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Keeps connections open and lets nothing through, as a cable that was pulled; what was sent arrives after {@link heal}. */
  blackHole(): void {
    this.#isBlackHole = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** Takes no more connections: who tries is reset. */
  refuse(): void {
    this.#refuses = true;
  }

  /** Ends all connections at once, with a reset. */
  cut(): void {
    for (const socket of this.#sockets) cutOff(socket);
  }

  /** Ends delays, the black hole and refusals. */
  heal(): void {
    this.#delayMs = 0;
    this.#refuses = false;
    this.#isBlackHole = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    const closed = once(this.#listener, "close");
    this.#listener.close();
    await closed;
  }

  #accept(client: Socket): void {
    if (this.#refuses) {
      client.on("error", () => undefined);
      client.resetAndDestroy();
      return;
    }
    this.#accepted++;
    const server = connect({ ...this.#target, allowHalfOpen: true });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    this.#link(client, server);
  }

  #pass(client: Socket, server: Socket): void {
    this.#relay(client, server);
    this.#relay(server, client);
    if (!this.#isBlackHole) return;
    client.pause();
    server.pause();
  }

  #relay(from: Socket, to: Socket): void {
    from.on("data", (chunk: Buffer) => {
      if (this.#delayMs > 0) setTimeout(() => to.writable && to.write(chunk), this.#delayMs).unref();
      else if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => {
      if (!this.#isBlackHole) from.resume();
    });
    from.on("end", () => to.end());
  }
}

/** Ends a connection at once; with a reset where it is of TCP, which a Unix socket does not know. */
export function cutOff(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
