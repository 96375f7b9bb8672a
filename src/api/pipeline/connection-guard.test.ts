import { EventEmitter } from "node:events";
import { BlockList, type Socket } from "node:net";
import { pino } from "pino";
import { expect, it } from "vitest";
import { ConnectionGuard, type ConnectionLimits } from "./connection-guard.ts";

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string;
  readonly remotePort: number;
  bytesRead = 100;
  destroyed = false;

  constructor(remoteAddress: string, remotePort: number) {
    super();
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

let nextPort = 1;

function guarded(limits: Partial<ConnectionLimits> = {}) {
  let nowMs = 0;
  const refused: string[] = [];
  const proxies = new BlockList();
  proxies.addAddress("192.0.2.1");
  const guard = new ConnectionGuard({
    name: "test",
    limits: {
      most: 1_000,
      unauthenticatedPerAddress: 10,
      authenticationMs: 5_000,
      unlimited: proxies,
      ...limits,
    },
    clock: { now: () => new Date(nowMs), monotonicMs: () => nowMs },
    logger: pino({ level: "silent" }),
    refused: (reason) => refused.push(reason),
  });
  const connect = (address = "203.0.113.1") => {
    const socket = new FakeSocket(address, nextPort++);
    return { socket, taken: guard.accept(socket as unknown as Socket) };
  };
  const connectMany = (count: number, address?: string) =>
    Array.from({ length: count }, () => connect(address));
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { guard, refused, connect, connectMany, pass };
}

const takenOf = (connections: readonly { taken: boolean }[]) =>
  connections.filter(({ taken }) => taken).length;

it("takes as many strangers of one address as the limit says, and of others still", () => {
  const { connectMany, refused } = guarded();
  expect(takenOf(connectMany(15))).toBe(10);
  expect(refused).toEqual(Array.from({ length: 5 }, () => "address"));
  expect(takenOf(connectMany(5, "203.0.113.2"))).toBe(5);
});

it("takes any number of which each is let in", () => {
  const { guard, connect } = guarded();
  for (let count = 0; count < 500; count++) {
    const { socket, taken } = connect();
    expect(taken).toBe(true);
    guard.admitted(socket);
  }
  expect(guard.strangers).toBe(0);
  expect(guard.open).toBe(500);
});

it("gives an address nothing back for strangers that end, but as time goes by", () => {
  const { connectMany, pass } = guarded();
  for (const { socket } of connectMany(10)) socket.destroy();
  expect(takenOf(connectMany(10))).toBe(0);
  pass(2_000);
  expect(takenOf(connectMany(10))).toBe(4);
  pass(60_000);
  expect(takenOf(connectMany(20))).toBe(10);
});

it("gives back a connection that never sent a byte", () => {
  const { connect } = guarded();
  for (let count = 0; count < 50; count++) {
    const { socket, taken } = connect();
    expect(taken).toBe(true);
    socket.bytesRead = 0;
    socket.destroy();
  }
});

it("lets nobody in from an address that flooded, for ten seconds", () => {
  const { guard, connect, connectMany, pass } = guarded();
  const { socket } = connect();
  guard.admitted(socket);
  guard.flooded(socket);
  expect(takenOf(connectMany(5))).toBe(0);
  pass(10_500);
  expect(takenOf(connectMany(5))).toBe(1);
  expect(socket.destroyed).toBe(false);
});

it("cuts a stranger after a time, and nobody who was let in", async () => {
  const { guard, connect, pass, refused } = guarded();
  const [stranger, known, late] = [connect(), connect(), connect()];
  guard.admitted(known.socket);
  pass(4_000);
  const young = connect();
  pass(1_500);
  await guard.round.run();
  expect([stranger, known, late, young].map(({ socket }) => socket.destroyed)).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect(refused).toEqual(["unauthenticated", "unauthenticated"]);
  await guard.round.close();
});

it("takes no more than the port holds, of proxies neither", () => {
  const { guard, connectMany } = guarded({ most: 30 });
  expect(takenOf(connectMany(25, "192.0.2.1"))).toBe(25);
  expect(guard.strangers).toBe(0);
  expect(takenOf(connectMany(10))).toBe(5);
});
