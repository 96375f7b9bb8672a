import { beatMessage, encodeRequest, type LoadStream } from "./heartbeat-load.ts";

/** How many heartbeats a stream has on the way before it waits for acknowledgements. */
const windowBeats = 256;

/** Sends the heartbeats `from`+1 to `to` on every stream, as fast as they are acknowledged; returns when all are durable. */
export async function sendAcked(streams: readonly LoadStream[], from: number, to: number): Promise<void> {
  const messages = messagesOf(from, to);
  await Promise.all(
    streams.map(async (stream) => {
      for (const [index, message] of messages.entries()) {
        while (from + index + 1 - stream.acked > windowBeats) await stream.nextAck();
        await stream.send(message);
      }
      while (stream.acked < to) await stream.nextAck();
    }),
  );
}

/** The same to the floor, which answers nothing but a goodbye, and that after all before it were decoded. */
export async function sendDecoded(streams: readonly LoadStream[], from: number, to: number): Promise<void> {
  const messages = messagesOf(from, to);
  const goodbye = encodeRequest({ case: "goodbye", value: {} });
  await Promise.all(
    streams.map(async (stream) => {
      for (const message of messages) await stream.send(message);
      const decoded = new Promise((resolve) => stream.call.once("data", resolve));
      await stream.send(goodbye);
      await decoded;
    }),
  );
}

/** Encoded once for all streams, to leave the CPU to the server. */
function messagesOf(from: number, to: number): Buffer[] {
  return Array.from({ length: to - from }, (_, index) => beatMessage(from + index + 1));
}
