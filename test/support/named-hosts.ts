import dns from "node:dns";

/**
 * Names that resolve to what a test says, for all of this process, until it is disposed: the resolver of the machine is not
 * the test's to change. Other names are resolved as ever.
 */
export class NamedHosts implements Disposable {
  readonly #addresses = new Map<string, string | undefined>();
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
    this.#addresses.set(name, address);
  }

  [Symbol.dispose](): void {
    dns.lookup = this.#lookup;
  }

  #answer(name: string, { all = false }: dns.LookupOptions, callback: LookupCallback): void {
    const address = this.#addresses.get(name);
    queueMicrotask(() => {
      if (address === undefined) {
        const words = `getaddrinfo ENOTFOUND ${name}`;
        callback(
          Object.assign(new Error(words), { code: "ENOTFOUND", syscall: "getaddrinfo", hostname: name }),
        );
      } else if (all) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    });
  }
}

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address?: string | dns.LookupAddress[],
  family?: number,
) => void;
