import { Client, type ClientOptions, credentials, Metadata } from "@grpc/grpc-js";

/** Passes bytes through: the load generator encodes once and decodes only what it must, to leave the CPU to the server. */
export const asIs = (bytes: Buffer): Buffer => bytes;

/** A connection of its own to a gRPC server. */
export function connect(address: string, options: ClientOptions = {}): Client {
  return new Client(address, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_channelz": 0,
    "grpc.enable_retries": 0,
    "grpc.max_receive_message_length": 4 * 1024 * 1024,
    ...options,
  });
}

/** The metadata that carries a bearer token. */
export function bearer(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

/** Runs `task` for 0..count-1, at most `width` at a time. */
export async function inParallel(
  count: number,
  width: number,
  task: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, worker));
}
