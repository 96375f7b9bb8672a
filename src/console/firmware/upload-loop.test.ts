import { describe, expect, it, vi } from "vitest";
import { chunkBytes, uploadInChunks } from "./upload-loop.ts";

/** A service that keeps what it gets and may fail before or after it took a chunk. */
class Target {
  received = new Uint8Array();
  failures: ("before" | "after")[] = [];
  isFinished = false;

  async committed(): Promise<number> {
    return this.received.length;
  }

  async send(chunk: Uint8Array, offset: number, finish: boolean): Promise<number> {
    const failure = this.failures.shift();
    if (failure === "before") throw new Error("connection reset");
    if (offset !== this.received.length) throw new Error("wrong offset");
    const all = new Uint8Array(offset + chunk.length);
    all.set(this.received);
    all.set(chunk, offset);
    this.received = all;
    if (failure === "after") throw new Error("connection reset");
    this.isFinished = finish;
    return all.length;
  }
}

const size = 2 * chunkBytes + 10;
const content = new Blob([Uint8Array.from({ length: size }, (_, at) => at % 251)]);

function upload(target: Target, controller = new AbortController()) {
  const progress = vi.fn<(committed: number | undefined) => void>();
  const done = uploadInChunks({
    content,
    target,
    signal: controller.signal,
    progress,
    isPassing: (error) => error instanceof Error && error.message === "connection reset",
    pause: async () => undefined,
  });
  return { done, progress };
}

async function expectWhole({ received, isFinished }: Target): Promise<void> {
  expect(isFinished).toBe(true);
  expect(received.length).toBe(size);
  const whole = new Uint8Array(await content.arrayBuffer());
  expect(received.every((byte, at) => byte === whole[at])).toBe(true);
}

describe("uploadInChunks", () => {
  it("sends everything once, in order", async () => {
    const target = new Target();
    const { done, progress } = upload(target);
    await done;
    await expectWhole(target);
    expect(progress.mock.calls.map(([committed]) => committed)).toEqual([
      0,
      chunkBytes,
      2 * chunkBytes,
      size,
    ]);
  });

  it("goes on where the service has it up to, whether a lost chunk had arrived or not", async () => {
    const target = new Target();
    target.received = new Uint8Array(await content.slice(0, 100).arrayBuffer());
    target.failures = ["before", "after", "before"];
    const { done, progress } = upload(target);
    await done;
    await expectWhole(target);
    expect(progress.mock.calls.filter(([committed]) => committed === undefined)).toHaveLength(3);
  });

  it("finishes what is all there but was never finished", async () => {
    const target = new Target();
    target.received = new Uint8Array(await content.arrayBuffer());
    await upload(target).done;
    expect(target.isFinished).toBe(true);
    await expectWhole(target);
  });

  it("ends with what the service refuses for good, and with a cancellation", async () => {
    const refusing = new Target();
    refusing.send = () => Promise.reject(new Error("digest mismatch"));
    await expect(upload(refusing).done).rejects.toThrow("digest mismatch");
    const controller = new AbortController();
    const cancelled = new Target();
    cancelled.send = async () => {
      controller.abort(new Error("cancelled"));
      throw new Error("connection reset");
    };
    await expect(upload(cancelled, controller).done).rejects.toThrow("cancelled");
  });
});
