import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/**
 * The line of one replica to the database. Once it is cut, the replica is dead for the database and for everybody else:
 * what it was in the middle of ends as when its process is killed, and nothing that it does is seen any more.
 */
export class SeverableLine implements AsyncDisposable {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#join(socket));
  readonly #target: URL;
  readonly #cutAt = Promise.withResolvers<void>();
  #trap: Buffer | undefined;
  #cut = false;
  #held = false;

  /** A line to the database of that URL. */
  static async lay(databaseUrl: string): Promise<SeverableLine> {
    const line = new SeverableLine(new URL(databaseUrl));
    line.#server.listen(0, "127.0.0.1");
    await once(line.#server, "listening");
    return line;
  }

  private constructor(target: URL) {
    this.#target = target;
  }

  /** The same database by this line. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return url.href;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Cuts it when the replica is about to say this; resolves then. */
  cutBefore(text: string): Promise<void> {
    this.#trap = Buffer.from(text);
    return this.#cutAt.promise;
  }

  /** Nothing passes until it is let go: the replica is alive and waits. */
  hold(): void {
    this.#held = true;
    for (const socket of this.#sockets) socket.pause();
  }

  letGo(): void {
    this.#held = false;
    for (const socket of this.#sockets) socket.resume();
  }

  /** Brings it back, so that whoever hangs on it can end in an orderly way. */
  mend(): void {
    this.#cut = false;
    this.#trap = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(near: Socket): void {
    const far = connect(Number(this.#target.port), this.#target.hostname);
    if (this.#cut) near.resetAndDestroy();
    this.#pass(near, far, (chunk) => this.#trap !== undefined && chunk.includes(this.#trap));
    this.#pass(far, near, () => false);
  }

  #pass(from: Socket, to: Socket, springs: (chunk: Buffer) => boolean): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    // A line that breaks is what this is for; the other end learns of it.
    from.on("error", () => undefined);
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.on("data", (chunk) => {
      if (springs(chunk)) {
        this.cut();
        this.#cutAt.resolve();
      } else to.write(chunk);
    });
    if (this.#held) from.pause();
  }
}
