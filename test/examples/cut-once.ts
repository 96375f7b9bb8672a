import { FaultProxy } from "../support/fault-proxy.ts";

/** The network of one device: it breaks once, in the middle of the first large answer, and counts what came through. */
export interface PoorNetwork extends AsyncDisposable {
  /** Where the device connects, `host:port`. */
  readonly address: string;
  /** Bytes that the device was sent so far. */
  readonly bytes: () => number;
}

/** A network to `target`, `host:port`, that ends the first connection over which more than `limit` bytes came. */
export async function cutOnce(target: string, limit: number): Promise<PoorNetwork> {
  let total = 0;
  let isCut = false;
  const proxy = await FaultProxy.start(target, (client, server) => {
    let passed = 0;
    client.on("data", (chunk: Buffer) => server.write(chunk));
    server.on("data", (chunk: Buffer) => {
      total += chunk.length;
      passed += chunk.length;
      if (isCut || passed < limit) {
        if (!client.write(chunk)) server.pause();
        return;
      }
      // In order, so that the device has what was sent before: how much of it is lost otherwise is up to the kernel.
      isCut = true;
      client.end(chunk);
      server.destroy();
    });
    client.on("drain", () => server.resume());
    client.on("end", () => server.end());
    server.on("end", () => client.end());
  });
  return {
    address: proxy.address,
    bytes: () => total,
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}
