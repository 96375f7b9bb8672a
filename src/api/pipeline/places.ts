import type { BlockList } from "node:net";
import { addressKey, isListed } from "../../call/address.ts";
import { OtaError } from "../../errors.ts";
import { type Caller, callerOf } from "./caller.ts";
import type { PlaceKind } from "./endpoint.ts";

/** How many calls of a kind may be open at once. */
interface PlaceLimit {
  /** Of all callers, in this replica. */
  readonly most: number;
  /** Of one device or token or, without either, address. */
  readonly perCaller: number;
  /** Of one address, whoever calls from there; no limit unless given. */
  readonly perAddress?: number;
}

/** The limits by kind. */
export type PlaceLimits = Readonly<Record<PlaceKind, PlaceLimit>>;

/** A place that a call holds; to be released once. */
export interface Place {
  release(): void;
}

/**
 * The places of calls that stay open: streams, downloads, uploads. Each kind has places of its own, so that nobody can
 * take those of another, and each caller and address has a share of them, so that nobody can take them all.
 */
export class Places {
  readonly #limits: PlaceLimits;
  readonly #pools: ReadonlyMap<PlaceKind, Pool>;

  /** Of addresses in `proxies` calls of many come; they have no limit as addresses. */
  constructor(limits: PlaceLimits, proxies: BlockList) {
    this.#limits = limits;
    const pools = new Map<PlaceKind, Pool>();
    for (const [kind, limit] of Object.entries(limits) as [PlaceKind, PlaceLimit][])
      pools.set(kind, new Pool(limit, proxies));
    this.#pools = pools;
  }

  /** Takes a place. Throws RESOURCE_EXHAUSTED with the limit that is reached. */
  take(kind: PlaceKind, caller: Caller): Place {
    const pool = this.#pools.get(kind) as Pool;
    const reached = pool.reached(caller);
    if (reached !== undefined) throw noPlace(kind, reached, this.#limits[kind][reached] ?? 0);
    return pool.take(caller);
  }

  /** Places of a kind that are taken. */
  taken(kind: PlaceKind): number {
    return this.#pools.get(kind)?.size ?? 0;
  }
}

class Pool {
  readonly #limit: PlaceLimit;
  readonly #proxies: BlockList;
  readonly #byCaller = new Map<string, number>();
  readonly #byAddress = new Map<string, number>();
  size = 0;

  constructor(limit: PlaceLimit, proxies: BlockList) {
    this.#limit = limit;
    this.#proxies = proxies;
  }

  /** The limit that leaves the caller no place. */
  reached(caller: Caller): keyof PlaceLimit | undefined {
    const { most, perCaller, perAddress } = this.#limit;
    if ((this.#byCaller.get(callerOf(caller)) ?? 0) >= perCaller) return "perCaller";
    const address = this.#addressOf(caller.peer);
    if (
      perAddress !== undefined &&
      address !== undefined &&
      (this.#byAddress.get(address) ?? 0) >= perAddress
    )
      return "perAddress";
    return this.size >= most ? "most" : undefined;
  }

  take(caller: Caller): Place {
    const name = callerOf(caller);
    const address = this.#addressOf(caller.peer);
    this.size++;
    count(this.#byCaller, name, 1);
    if (address !== undefined) count(this.#byAddress, address, 1);
    return {
      release: () => {
        this.size--;
        count(this.#byCaller, name, -1);
        if (address !== undefined) count(this.#byAddress, address, -1);
      },
    };
  }

  /** Undefined where addresses do not count. */
  #addressOf(peer: string): string | undefined {
    if (this.#limit.perAddress === undefined) return undefined;
    return isListed(peer, this.#proxies) ? undefined : addressKey(peer);
  }
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}

function noPlace(kind: PlaceKind, reached: keyof PlaceLimit, limit: number): OtaError {
  const whose = { most: "all callers", perCaller: "this caller", perAddress: "this address" }[reached];
  return new OtaError(
    "resource_exhausted",
    "TOO_MANY_STREAMS",
    `${whose} may have ${limit} ${words[kind]} open at once`,
    { metadata: { limit: String(limit), kind }, retryAfterMs: 10_000 },
  );
}

const words: Readonly<Record<PlaceKind, string>> = {
  heartbeats: "heartbeat streams",
  update_checks: "update checks that wait",
  downloads: "downloads",
  crash_logs: "uploads of crash logs",
  operators: "streams of operators",
  anonymous: "streams without a credential",
};
