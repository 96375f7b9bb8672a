import dns from "node:dns";
import type { LookupFunction, Socket } from "node:net";
import { withTimeLimit } from "./time-limit.ts";
import type { Turns } from "./turns.ts";

/** How names are looked up. */
export interface HostLookupOptions {
  /** How long one caller waits for an answer; then the name cannot be resolved at the moment (`EAI_AGAIN`). */
  readonly limitMs: number;
  /** For names that others than the operator of the service chose: they wait for one another, so that they leave room for its own. */
  readonly turns?: Turns;
}

/**
 * Looks up the names of hosts for sockets, as `dns.lookup` does, but asks for a name once at a time, whoever waits for it. The system is
 * asked on threads of the process, of which two look up names by default, and one that gets no answer is kept for 10 s and longer, also
 * when the socket is gone that asked. A host that is connected to over and over would otherwise leave no thread for any other.
 */
export function hostLookup({ limitMs, turns }: HostLookupOptions): LookupFunction {
  return (hostname, options, callback) => {
    const late = (): Error => unanswered(hostname, limitMs);
    const asked = joined(hostname, options, async (ask) => {
      if (turns === undefined) return await ask();
      const leave = AbortSignal.timeout(limitMs);
      return await turns.run(ask, leave).catch((error: unknown) => {
        throw error === leave.reason ? late() : error;
      });
    });
    // Not from within the promise: what the callback throws is the socket's, as it is with dns.lookup.
    const give = (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]): void => {
      const [first] = addresses;
      if (error !== null || options.all === true) process.nextTick(callback, error, addresses);
      else process.nextTick(callback, null, first?.address ?? "", first?.family);
    };
    withTimeLimit(asked, limitMs, late).then(
      (addresses) => give(null, addresses),
      (error: unknown) => give(error as Error, []),
    );
  };
}

/** Lets a socket look up names by that, whose `connect` is called with a port and a host by a library that has no other way. */
export function lookingUpBy(lookup: LookupFunction, socket: Socket): Socket {
  const connect = socket.connect.bind(socket);
  const connectTo = (place: number | string, host?: unknown): Socket =>
    typeof place === "number" && typeof host === "string"
      ? connect({ port: place, host, lookup })
      : connect(place as string);
  socket.connect = connectTo as Socket["connect"];
  return socket;
}

type Ask = () => Promise<dns.LookupAddress[]>;

/** What is being asked now, by all that the answer depends on. */
const underWay = new Map<string, Promise<dns.LookupAddress[]>>();

/** The answer that somebody waits for already, or one that is asked for in the way given. */
function joined(
  hostname: string,
  { family = 0, hints = 0 }: dns.LookupOptions,
  inTurn: (ask: Ask) => Promise<dns.LookupAddress[]>,
): Promise<dns.LookupAddress[]> {
  const key = `${family} ${hints} ${hostname}`;
  const found = underWay.get(key);
  if (found !== undefined) return found;
  const asked = inTurn(() => allAddresses(hostname, { family, hints })).finally(() => underWay.delete(key));
  underWay.set(key, asked);
  return asked;
}

async function allAddresses(hostname: string, options: dns.LookupOptions): Promise<dns.LookupAddress[]> {
  const { promise, resolve, reject } = Promise.withResolvers<dns.LookupAddress[]>();
  dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error === null) resolve(addresses);
    else reject(error);
  });
  return await promise;
}

function unanswered(hostname: string, limitMs: number): Error {
  const words = `nobody said within ${limitMs} ms where ${hostname} is`;
  return Object.assign(new Error(words), { code: "EAI_AGAIN", syscall: "getaddrinfo", hostname });
}
