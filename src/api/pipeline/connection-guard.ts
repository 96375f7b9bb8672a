import type { BlockList, Socket } from "node:net";
import { addressKey, isListed } from "../../call/address.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { DescriptorShare } from "../../infra/descriptors.ts";
import type { Logger } from "../../infra/logger.ts";

/** Which connections a port takes. */
export interface ConnectionLimits {
  /** The most at once, of all. */
  readonly most: number;
  /** The most of one address over which no call has been let in; see {@link ConnectionGuard}. */
  readonly unauthenticatedPerAddress: number;
  /** How long one may go without a call that is let in, in milliseconds. */
  readonly authenticationMs: number;
  /** Addresses without limits of their own: proxies. */
  readonly unlimited: BlockList;
  /** What they may take of the process's descriptors; as many as there are unless given. */
  readonly descriptors?: DescriptorShare;
}

/** Who is at the other end of a connection. */
export interface ConnectionEnd {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/** What a {@link ConnectionGuard} is made of. */
export interface ConnectionGuardParts {
  /** Of the door: `grpc` or `http`. */
  readonly name: string;
  readonly limits: ConnectionLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Counts connections that were not taken, or cut. */
  readonly refused: (reason: RefusedConnection) => void;
}

/** Why a connection was not taken, or was cut. */
type RefusedConnection = "too_many" | "descriptors" | "address" | "unauthenticated" | "flood";

/**
 * Watches the connections of one port before anybody knows who is behind them. Each takes one out of the bucket of its
 * address, and gives it back with its first call that is let in (or if it never sent a byte, as load balancers probe). So
 * devices cost nothing, however many share an address, and strangers cost what the bucket holds and then as much as runs
 * into it. Without this, what is bounded for each connection, such as HTTP/2's resets, is bounded for nobody who connects
 * again.
 */
export class ConnectionGuard {
  /** Cuts those that are silent for too long; runs only while there are some. */
  readonly round: Round;
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  readonly #refused: ConnectionGuardParts["refused"];
  /** Connections over which no call has been let in, by their other end, oldest first. */
  readonly #strangers = new Map<string, Stranger>();
  /** Of addresses whose bucket is not full. */
  readonly #buckets = new Map<string, Bucket>();
  readonly #open = new Set<Socket>();

  constructor({ name, limits, clock, logger, refused }: ConnectionGuardParts) {
    this.#limits = limits;
    this.#clock = clock;
    this.#refused = refused;
    this.round = new Round({ name: `connections_${name}`, work: () => this.#look(), clock, logger });
  }

  /** How many connections are open. */
  get open(): number {
    return this.#open.size;
  }

  /** How many of them no call has been let in over. */
  get strangers(): number {
    return this.#strangers.size;
  }

  /** Takes a connection, or ends it and says false. */
  accept(socket: Socket): boolean {
    const { remoteAddress } = socket;
    // Gone already.
    if (remoteAddress === undefined) return end(socket);
    if (this.#open.size >= this.#limits.most) {
      this.#refused("too_many");
      return end(socket);
    }
    const isLimited = !isListed(remoteAddress, this.#limits.unlimited);
    const address = addressKey(remoteAddress);
    if (isLimited && !this.#take(address)) {
      this.#refused("address");
      return end(socket);
    }
    // The last limit that is asked: what it takes is given back when the connection closes.
    if (this.#limits.descriptors?.take() === false) {
      if (isLimited) this.#giveBack(address);
      this.#refused("descriptors");
      return end(socket);
    }
    this.#open.add(socket);
    const key = endKey(socket);
    if (isLimited) {
      this.#strangers.set(key, { socket, address, sinceMs: this.#clock.monotonicMs() });
      this.round.soon(lookEveryMs);
    }
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#limits.descriptors?.giveBack();
      if (this.#strangers.delete(key) && socket.bytesRead === 0) this.#giveBack(address);
    });
    return true;
  }

  /** A call was let in over this connection. */
  admitted(connection: ConnectionEnd): void {
    if (this.#strangers.size === 0) return;
    const key = endKey(connection);
    const stranger = this.#strangers.get(key);
    if (stranger === undefined) return;
    this.#strangers.delete(key);
    this.#giveBack(stranger.address);
  }

  /** The client of this connection flooded it; the caller cuts it. */
  flooded({ remoteAddress }: ConnectionEnd): void {
    this.#refused("flood");
    if (remoteAddress === undefined || isListed(remoteAddress, this.#limits.unlimited)) return;
    this.#buckets.set(addressKey(remoteAddress), { level: -floodPenalty, atMs: this.#clock.monotonicMs() });
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #take(address: string): boolean {
    const level = this.#levelOf(address);
    if (level < 1) return false;
    this.#setLevel(address, level - 1);
    return true;
  }

  #giveBack(address: string): void {
    this.#setLevel(address, this.#levelOf(address) + 1);
  }

  #levelOf(address: string): number {
    const bucket = this.#buckets.get(address);
    const full = this.#limits.unauthenticatedPerAddress;
    if (bucket === undefined) return full;
    const seconds = (this.#clock.monotonicMs() - bucket.atMs) / 1_000;
    return Math.min(full, bucket.level + seconds * refillPerSecond);
  }

  #setLevel(address: string, level: number): void {
    if (level >= this.#limits.unauthenticatedPerAddress) this.#buckets.delete(address);
    else this.#buckets.set(address, { level, atMs: this.#clock.monotonicMs() });
  }

  #look(): void {
    const beganBeforeMs = this.#clock.monotonicMs() - this.#limits.authenticationMs;
    for (const { socket, sinceMs } of this.#strangers.values()) {
      if (sinceMs > beganBeforeMs) break;
      this.#refused("unauthenticated");
      socket.destroy();
    }
    for (const address of this.#buckets.keys()) this.#setLevel(address, this.#levelOf(address));
    if (this.#strangers.size > 0 || this.#buckets.size > 0) this.round.soon(lookEveryMs);
  }
}

interface Stranger {
  readonly socket: Socket;
  readonly address: string;
  /** By the monotonic clock. */
  readonly sinceMs: number;
}

/** What an address has left, at a time of the monotonic clock. */
interface Bucket {
  readonly level: number;
  readonly atMs: number;
}

const lookEveryMs = 1_000;

/** A connection that is cut for a flood has cost about 30 ms; two a second are 6 % of a core. */
const refillPerSecond = 2;

/** What an address lacks after a flood: no connection for ten seconds. */
const floodPenalty = 20;

function end(socket: Socket): false {
  socket.destroy();
  return false;
}

function endKey({ remoteAddress, remotePort }: ConnectionEnd): string {
  return `${remoteAddress} ${remotePort}`;
}
