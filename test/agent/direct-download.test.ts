import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { downloadFirmware } from "../../src/agent/firmware-download.ts";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { eventually } from "../support/eventually.ts";
import { offerOf, TestDevice } from "./agent-harness.ts";
import { FixtureService } from "./fixture-service.ts";

const content = randomBytes(1024 * 1024 + 17);

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let cleanup: AsyncDisposableStack;
let service: FixtureService;
let device: TestDevice;
let storeUrl: string;
/** How the store answers, one request after the other; then it gives the content. */
let answers: Answer[];
let requests: IncomingMessage[];
let installed: Buffer | undefined;
beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  service = cleanup.use(await FixtureService.start());
  device = cleanup.use(await TestDevice.make(service));
  answers = [];
  requests = [];
  const store = createServer((request, response) => {
    requests.push(request);
    (answers.shift() ?? give)(request, response);
  }).listen(0, "127.0.0.1");
  cleanup.defer(() => {
    store.closeAllConnections();
    store.close();
  });
  await once(store, "listening");
  storeUrl = `http://127.0.0.1:${(store.address() as AddressInfo).port}/content?X-Amz-Signature=secret`;
  installed = undefined;
  device.onInstall = async ({ path }) => {
    installed = await readFile(path);
  };
});
afterEach(() => cleanup.disposeAsync());

/** Ends when the device has the content. */
async function update(urls: readonly string[]): Promise<void> {
  service.urls.push(...urls);
  const offer = offerOf(service, content);
  service.offerFor = () => offer;
  await device.boot();
  await device.rebootAsked;
  expect(installed?.equals(content)).toBe(true);
  expect(service.states).toEqual(["DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING"]);
}

const asked = () => service.downloads.map(({ offset, acceptUrl }) => [Number(offset), acceptUrl]);

function startOf({ headers }: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
}

function give(request: IncomingMessage, response: ServerResponse): void {
  const start = startOf(request);
  const range = `bytes ${start}-${content.length - 1}/${content.length}`;
  response.writeHead(start === 0 ? 200 : 206, { "content-range": range }).end(content.subarray(start));
}

/** Sends as many bytes and cuts the connection. */
function cutAfter(length: number): Answer {
  return (request, response) => {
    const start = startOf(request);
    const range = `bytes ${start}-${content.length - 1}/${content.length}`;
    response.writeHead(start === 0 ? 200 : 206, {
      "content-length": content.length - start,
      "content-range": range,
    });
    response.write(content.subarray(start, start + length), () => response.destroy());
  };
}

describe("content at a URL", () => {
  it("is fetched there, without the device's credential", async () => {
    await update([storeUrl]);
    expect(service.downloadedBytes).toBe(0);
    expect(requests.map(({ headers }) => [headers.range, headers.authorization])).toEqual([
      [undefined, undefined],
    ]);
  });

  it("goes on where it broke off, at a new URL, as long as each brings something", async () => {
    answers = [cutAfter(300_000), cutAfter(300_000)];
    await update([storeUrl, storeUrl, storeUrl]);
    expect(service.downloadedBytes).toBe(0);
    const starts = requests.map(startOf);
    expect(starts[0]).toBe(0);
    expect(starts[2]).toBeGreaterThan(starts[1] ?? 0);
    expect(asked()).toEqual(starts.map((start) => [start, true]));
  });

  it.each<[string, Answer]>([
    ["has expired", (_, response) => response.writeHead(403).end("<Error/>")],
    ["leads elsewhere", (_, response) => response.writeHead(302, { location: "https://example.com" }).end()],
    ["hangs up", (request) => request.socket.destroy()],
    [
      "gives compressed bytes",
      (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end("x"),
    ],
  ])("that %s is fetched from the service", async (_, answer) => {
    answers = [answer];
    await update([storeUrl]);
    expect(asked()).toEqual([
      [0, true],
      [0, false],
    ]);
    expect(service.downloadedBytes).toBeGreaterThanOrEqual(content.length);
  });

  it("that does not give the rest of it, but all again, is fetched from the service", async () => {
    answers = [cutAfter(300_000), (_, response) => response.writeHead(200).end(content)];
    await update([storeUrl, storeUrl]);
    expect(asked().map(([, acceptUrl]) => acceptUrl)).toEqual([true, true, false]);
  });

  it("that gives other bytes is fetched from the service once more, and no device's failure", async () => {
    answers = [(_, response) => response.writeHead(200).end(Buffer.alloc(content.length, 7))];
    await update([storeUrl, storeUrl]);
    expect(asked()).toEqual([
      [0, true],
      [0, false],
    ]);
  });

  it("that gives more bytes than there are is no longer listened to", async () => {
    answers = [(_, response) => response.writeHead(200).end(Buffer.concat([content, content]))];
    await update([storeUrl]);
    expect(service.downloadedBytes).toBeLessThan(content.length);
  });

  it.each(["http://203.0.113.7/content", "file:///etc/passwd", "nonsense"])(
    "is not fetched from %s, which anybody on the way could read and answer",
    async (url) => {
      await update([url]);
      expect(requests).toEqual([]);
      expect(asked()).toEqual([
        [0, true],
        [0, false],
      ]);
    },
  );

  it("is not blamed for what the disk damaged in a part that was there before", async () => {
    const path = join(device.folder, "..", "part");
    await writeFile(path, Buffer.alloc(1_000, 7));
    const failed: unknown[] = [];
    using client = new RpcClient({ address: service.address, token: "token" });
    const offer = offerOf(service, content);
    await downloadFirmware(
      {
        client,
        updateId: offer.updateId,
        sha256: offer.sha256,
        sizeBytes: content.length,
        path,
        durable: false,
        onProgress: () => undefined,
        onUrlFailed: (error) => failed.push(error),
      },
      new AbortController().signal,
    );
    expect((await readFile(path)).equals(content)).toBe(true);
    expect(asked()).toEqual([
      [1_000, true],
      [0, false],
    ]);
    expect(failed).toEqual([]);
  });

  it("goes on after a restart of the agent in the middle of it", async () => {
    answers = [
      (_, response) => {
        response.writeHead(200, { "content-length": content.length });
        response.write(content.subarray(0, 400_000));
      },
    ];
    service.urls.push(storeUrl, storeUrl);
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    await device.boot();
    await eventually(async () =>
      expect((await stat(join(device.folder, "downloads", offer.sha256))).size).toBe(400_000),
    );
    await device.reboot();
    await device.rebootAsked;
    expect(installed?.equals(content)).toBe(true);
    expect(requests.map(startOf)).toEqual([0, 400_000]);
  });
});
