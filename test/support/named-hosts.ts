import dns from "node:dns";

/**
 * Names that resolve to what a test says, for all of this process, until it is disposed: the resolver of the machine is not
 * the test's to change. Other names are resolved as ever.
 */
export class NamedHosts implements Disposable {
  readonly #addresses = new Map<string, string | undefined>();
  /** Who waits for the names that nobody answers for. */
  readonly #unanswered = new Map<string, LookupCallback[]>();
  readonly #lookup = dns.lookup;

  constructor() {
    // What sockets of Node.js ask when they are given a name.
    dns.lookup = ((name: string, options: dns.LookupOptions, callback: LookupCallback) => {
      if (this.#addresses.has(name)) this.#answer(name, options, callback);
      else this.#lookup(name, options, callback as never);
    }) as typeof dns.lookup;
  }

  /** Lets a name resolve to an IPv4 address; to none, as when the name is gone, with undefined. */
  set(name: string, address: string | undefined): void {
    const waiting = this.#unanswered.get(name) ?? [];
    this.#unanswered.delete(name);
    this.#addresses.set(name, address);
    for (const callback of waiting) callback(failure("EAI_AGAIN", name));
  }

  /** Lets whoever asks for a name wait, as a resolver that is away; until it is set, when the system gives up what was asked so far. */
  hang(name: string): void {
    this.#unanswered.set(name, []);
  }

  [Symbol.dispose](): void {
    dns.lookup = this.#lookup;
  }

  #answer(name: string, { all = false }: dns.LookupOptions, callback: LookupCallback): void {
    const waiting = this.#unanswered.get(name);
    if (waiting !== undefined) {
      waiting.push(callback);
      return;
    }
    const address = this.#addresses.get(name);
    queueMicrotask(() => {
      if (address === undefined) callback(failure("ENOTFOUND", name));
      else if (all) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    });
  }
}

function failure(code: string, hostname: string): NodeJS.ErrnoException {
  const words = `getaddrinfo ${code} ${hostname}`;
  return Object.assign(new Error(words), { code, syscall: "getaddrinfo", hostname });
}

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address?: string | dns.LookupAddress[],
  family?: number,
) => void;
