import type { LookupAddress } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { invalidArgument } from "../../errors.ts";
import { hostLookup } from "../../infra/host-lookup.ts";
import { Turns } from "../../infra/turns.ts";
import { isMailAddress } from "../../mail-address.ts";

/**
 * Refuses URLs that webhooks are never posted to: of other schemes, with a password, and, unless private addresses are allowed, in clear or
 * to an address that is not public. Names are resolved with each delivery, by {@link publicLookup}. Throws `WEBHOOK_URL_REFUSED`.
 */
export function requireWebhookUrl(text: string, allowPrivate: boolean): URL {
  if (!URL.canParse(text)) throw refuse("is no URL");
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") throw refuse("must not hold a user or a password");
  if (url.protocol !== "https:" && !(allowPrivate && url.protocol === "http:"))
    throw refuse("must begin with https://");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (!allowPrivate && isIP(host) !== 0 && !isPublic(host))
    throw refuse("names an address that is not public");
  return url;
}

/** Whether a text is a URL of RFC 6068, whatever it names. */
export function isMailUrl(text: string): boolean {
  return /^mailto:/i.test(text);
}

/**
 * Whom a `mailto:` URL names: one address, so that what becomes of a mail is one thing, and nothing beside it, such as a subject. Throws
 * `WEBHOOK_URL_REFUSED`.
 */
export function mailAddressOf(text: string): string {
  if (!isMailUrl(text)) throw refuse("must be mailto: and an address");
  let address: string;
  try {
    address = decodeURIComponent(text.slice("mailto:".length));
  } catch {
    throw refuse("is no URL");
  }
  if (!isMailAddress(address))
    throw refuse(
      "must name one address in ASCII after mailto:, and nothing else; for several people make a mailing list, or a webhook for each",
    );
  return address;
}

/** Resolves the name of a receiver for a connection. One at a time: a name that nobody answers for must not keep database and store waiting. */
export const receiverLookup: LookupFunction = hostLookup({
  limitMs: 10_000,
  turns: new Turns({ atOnce: 1, maxWaiting: 1_000, what: "names of webhooks", retryAfterMs: 1_000 }),
});

/** Resolves a name for a connection, and fails if any of its addresses is not public: what is checked is what is connected to. */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  receiverLookup(hostname, { ...options, all: true }, (error, found) => {
    if (error !== null) return callback(error, []);
    const addresses = found as LookupAddress[];
    const hidden = addresses.find(({ address }) => !isPublic(address));
    if (hidden !== undefined)
      return callback(new Error(`${hostname} is at ${hidden.address}, which is not public`), []);
    const [first] = addresses;
    if (options.all === true) return callback(null, addresses);
    if (first === undefined) return callback(new Error(`${hostname} has no address`), []);
    return callback(null, first.address, first.family);
  });
};

/** Whether an address is one of the internet's, and not of a private network, this machine or a group. */
export function isPublic(address: string): boolean {
  return !hidden.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

function refuse(why: string) {
  return invalidArgument("url", why, "WEBHOOK_URL_REFUSED");
}

const hidden = new BlockList();
// IANA's special-purpose registries; 64:ff9b::, 2001::/32 and 2002:: lead to IPv4 addresses that nobody checks.
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const)
  hidden.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["::", 96],
  ["64:ff9b::", 32],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 9],
  ["ff00::", 8],
] as const)
  hidden.addSubnet(network, prefix, "ipv6");
