import type { Socket } from "node:net";
import { FaultProxy } from "./fault-proxy.ts";

/**
 * The line of one replica to the database. Once it is cut, the replica is dead for the database and for everybody else:
 * what it was in the middle of ends as when its process is killed, and nothing that it does is seen any more.
 */
export class SeverableLine implements AsyncDisposable {
  /** The same database by this line. */
  readonly url: string;
  readonly #network: FaultProxy;
  readonly #trap: Trap;

  /** A line to the database of that URL. */
  static async lay(databaseUrl: string): Promise<SeverableLine> {
    const target = new URL(databaseUrl);
    const trap: Trap = { text: undefined, ends: true, sprung: Promise.withResolvers<void>(), isHeld: false };
    const network = await FaultProxy.start(target.host, (client, server) => join(client, server, trap));
    target.host = network.address;
    return new SeverableLine(target.href, network, trap);
  }

  private constructor(url: string, network: FaultProxy, trap: Trap) {
    this.url = url;
    this.#network = network;
    this.#trap = trap;
    void trap.sprung.promise.then(() => {
      if (trap.ends) this.cut();
    });
  }

  cut(): void {
    this.#network.refuse();
    this.#network.cut();
  }

  /** Cuts it when the replica is about to say this, which is not passed on; resolves then. */
  cutBefore(text: string): Promise<void> {
    this.#trap.text = text;
    return this.#trap.sprung.promise;
  }

  /**
   * Stops that connection when the replica is about to say this, which is not passed on; resolves then. The replica is in
   * the middle of what it was saying until its process ends.
   */
  stopBefore(text: string): Promise<void> {
    this.#trap.text = text;
    this.#trap.ends = false;
    return this.#trap.sprung.promise;
  }

  /** Nothing passes until the line is mended: the replica is alive and waits. */
  hold(): void {
    this.#trap.isHeld = true;
    this.#network.blackHole();
  }

  /** Brings it back. */
  mend(): void {
    this.#trap.isHeld = false;
    this.#trap.text = undefined;
    this.#network.heal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#network[Symbol.asyncDispose]();
  }
}

interface Trap {
  text: string | undefined;
  /** Whether all ends when it springs. */
  ends: boolean;
  readonly sprung: PromiseWithResolvers<void>;
  isHeld: boolean;
}

function join(client: Socket, server: Socket, trap: Trap): void {
  client.on("data", (chunk: Buffer) => {
    if (trap.text === undefined || !chunk.includes(trap.text)) {
      server.write(chunk);
      return;
    }
    trap.text = undefined;
    if (trap.ends) client.resetAndDestroy();
    else client.pause();
    trap.sprung.resolve();
  });
  server.on("data", (chunk: Buffer) => client.write(chunk));
  client.on("end", () => server.end());
  server.on("end", () => client.end());
  if (!trap.isHeld) return;
  client.pause();
  server.pause();
}
