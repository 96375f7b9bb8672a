import { BlockList, isIP } from "node:net";

/**
 * Whether a host, as people write it (a name, an address, an IPv6 address with or without brackets), is this machine and can be
 * reached by no other: what goes there in clear is heard by nobody. A name counts by what it says, without asking anybody.
 */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const family = isIP(bare);
  if (family === 0) return bare === "localhost" || bare.endsWith(".localhost");
  return loopback.check(bare, family === 4 ? "ipv4" : "ipv6");
}

const loopback = new BlockList();
// IPv4 addresses written as IPv6 ones are judged by it too.
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");
