import dns, { type LookupAddress } from "node:dns";
import { createServer, type LookupFunction, Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { hostLookup, lookingUpBy } from "./host-lookup.ts";
import { Turns } from "./turns.ts";

const real = dns.lookup;

/** What the system was asked, and how it is answered. */
let asked: { readonly name: string; readonly answer: (address: string | undefined) => void }[] = [];

beforeEach(() => {
  asked = [];
  dns.lookup = ((name: string, options: dns.LookupOptions, callback: (...answer: unknown[]) => void) => {
    if (!name.endsWith(".test")) return real(name, options, callback as never);
    const answer = (address: string | undefined): void => {
      if (address === undefined) callback(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }));
      else callback(null, [{ address, family: 4 }]);
    };
    asked.push({ name, answer });
  }) as typeof dns.lookup;
});

afterEach(() => {
  for (const { answer } of asked) answer("127.0.0.1");
  dns.lookup = real;
});

it("a name that nobody answers for is asked for once, whoever waits for it, and given up", async () => {
  const patient = hostLookup({ limitMs: 60_000 });
  const hasty = hostLookup({ limitMs: 5 });
  const first = addressOf(patient, "a.test");
  const second = addressOf(patient, "a.test");
  await expect(addressOf(hasty, "a.test")).rejects.toMatchObject({ code: "EAI_AGAIN" });
  await expect(addressOf(hasty, "a.test")).rejects.toMatchObject({ hostname: "a.test" });
  expect(asked.map(({ name }) => name)).toEqual(["a.test"]);
  asked[0]?.answer("127.0.0.7");
  expect(await Promise.all([first, second])).toEqual(["127.0.0.7", "127.0.0.7"]);
  // Nothing is remembered: the name may lead elsewhere now.
  const third = addressOf(patient, "a.test");
  asked[1]?.answer(undefined);
  await expect(third).rejects.toMatchObject({ code: "ENOTFOUND" });
});

it("names that take turns keep no other name waiting, and those that are given up are never asked for", async () => {
  const turns = new Turns({ atOnce: 1, maxWaiting: 9, what: "names", retryAfterMs: 1 });
  const guests = hostLookup({ limitMs: 60_000, turns });
  const hasty = hostLookup({ limitMs: 5, turns });
  const hung = addressOf(guests, "hung.test");
  await expect(addressOf(hasty, "left.test")).rejects.toMatchObject({ code: "EAI_AGAIN" });
  const next = addressOf(guests, "next.test");
  const own = addressOf(hostLookup({ limitMs: 60_000 }), "own.test");
  expect(asked.map(({ name }) => name)).toEqual(["hung.test", "own.test"]);
  asked[1]?.answer("127.0.0.2");
  expect(await own).toBe("127.0.0.2");
  asked[0]?.answer("127.0.0.1");
  expect(await hung).toBe("127.0.0.1");
  await expect.poll(() => asked[2]?.name).toBe("next.test");
  asked[2]?.answer("127.0.0.3");
  expect(await next).toBe("127.0.0.3");
});

it("a socket connects to a host that is looked up so, and to addresses and paths without", async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const lookup = hostLookup({ limitMs: 60_000 });
  const named = lookingUpBy(lookup, new Socket()).connect(port, "server.test");
  asked[0]?.answer("127.0.0.1");
  await new Promise((resolve) => named.once("connect", resolve));
  const addressed = lookingUpBy(lookup, new Socket()).connect(port, "127.0.0.1");
  await new Promise((resolve) => addressed.once("connect", resolve));
  const nowhere = lookingUpBy(lookup, new Socket()).connect("/nowhere/socket");
  expect(await new Promise((resolve) => nowhere.once("error", resolve))).toMatchObject({ code: "ENOENT" });
  expect(asked.map(({ name }) => name)).toEqual(["server.test"]);
  for (const socket of [named, addressed, nowhere]) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

function addressOf(lookup: LookupFunction, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    lookup(name, { all: true }, (error, addresses) => {
      const [first] = addresses as LookupAddress[];
      if (error === null) resolve(first?.address ?? "");
      else reject(error);
    });
  });
}
