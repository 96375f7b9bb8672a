import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "minio";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { S3ObjectStore, type S3Options } from "../../src/infra/objects/s3-object-store.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { type S3Server, startSwift, swiftIsInstalled } from "../support/swift.ts";
import { chunks, describeObjectStore, infoOf, read, type StoreFixture } from "./object-store.contract.ts";

const MIB = 1024 * 1024;
const LIMIT = 64 * MIB;

describeObjectStore("object store in a local folder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-objects-"));
  const clock = new FakeClock();
  return {
    open: () => new LocalObjectStore(folder, clock),
    clock,
    stagingFolder: join(folder, "staging"),
    partSizeBytes: MIB,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
});

describe("object store in a local folder, besides", () => {
  let folder: string;
  let store: LocalObjectStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "device-ota-objects-"));
    store = new LocalObjectStore(folder, new FakeClock());
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("has no URLs", async () => {
    const { sha256 } = await store.put(chunks(randomBytes(10)), { maxBytes: LIMIT });
    expect(await store.presignedUrl()).toBeUndefined();
    expect(await store.stat(sha256)).toBeDefined();
  });

  it("fails rather than end short when a file is cut while it is read", async () => {
    const bytes = randomBytes(4 * MIB);
    const { sha256 } = await store.put(chunks(bytes), { maxBytes: LIMIT });
    const stream = await store.read(sha256);
    await truncate(join(folder, "sha256", sha256.slice(0, 2), sha256), MIB);
    await expect(read(Promise.resolve(stream))).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  });

  it("heals an object that something damaged when it is put again", async () => {
    const bytes = randomBytes(1000);
    const info = await store.put(chunks(bytes), { maxBytes: LIMIT });
    await writeFile(join(folder, "sha256", info.sha256.slice(0, 2), info.sha256), "damaged");
    await store.put(chunks(bytes), { maxBytes: LIMIT });
    expect((await read(store.read(info.sha256))).equals(bytes)).toBe(true);
  });

  it("is not ready, and takes nothing, when its place cannot be written", async () => {
    await writeFile(join(folder, "file"), "");
    await using broken = new LocalObjectStore(join(folder, "file", "objects"), new FakeClock());
    await expect(broken.check()).rejects.toMatchObject({
      code: "unavailable",
      reason: "STORAGE_UNAVAILABLE",
    });
    await expect(broken.put(chunks(randomBytes(1)), { maxBytes: 1 })).rejects.toMatchObject({
      reason: "STORAGE_UNAVAILABLE",
    });
  });

  it("refuses what does not fit on the disk, frees the space and keeps what it has", async (context) => {
    const disk = join(folder, "small-disk");
    await mkdir(disk);
    const mount = promisify(execFile)("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
    if ((await mount.catch(() => undefined)) === undefined) context.skip("mounting a small disk needs root");
    try {
      await using small = new LocalObjectStore(disk, new FakeClock());
      const bytes = randomBytes(MIB);
      const kept = await small.put(chunks(bytes), { maxBytes: LIMIT });
      await expect(small.put(chunks(randomBytes(4 * MIB)), { maxBytes: LIMIT })).rejects.toMatchObject({
        code: "resource_exhausted",
        reason: "STORAGE_FULL",
      });
      expect(await readdir(join(disk, "staging"))).toEqual([]);
      expect((await read(small.read(kept.sha256))).equals(bytes)).toBe(true);
      await small.put(chunks(randomBytes(MIB / 2)), { maxBytes: LIMIT });
    } finally {
      await promisify(execFile)("umount", [disk]);
    }
  });
});

it("an upload that a full disk stops keeps what was committed, and goes on when there is room", async (context) => {
  const disk = await mkdtemp(join(tmpdir(), "device-ota-small-disk-"));
  const run = promisify(execFile);
  const mount = run("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
  if ((await mount.catch(() => undefined)) === undefined) context.skip("mounting a small disk needs root");
  try {
    await using small = new LocalObjectStore(disk, new FakeClock());
    const bytes = randomBytes(4 * MIB);
    const options = { maxBytes: bytes.length };
    const upload = await small.openUpload("one", options);
    await upload.append(0, bytes.subarray(0, MIB));
    expect(await upload.commit()).toBe(MIB);
    await expect(upload.append(MIB, bytes.subarray(MIB))).rejects.toMatchObject({ reason: "STORAGE_FULL" });
    const again = await small.openUpload("one", options);
    expect(again.committedBytes).toBe(MIB);
    await run("mount", ["-o", "remount,size=16m", disk]);
    await again.append(MIB, bytes.subarray(MIB));
    expect(await again.finish(infoOf(bytes))).toEqual(infoOf(bytes));
  } finally {
    await run("umount", [disk]);
    await rm(disk, { recursive: true });
  }
});

const configured = process.env["DEVICE_OTA_TEST_S3_ENDPOINT"];

describe.each(configured === undefined ? [] : [configured])("S3 at %s", (endpoint) => {
  const server: S3Server = {
    endpoint,
    accessKey: process.env["DEVICE_OTA_TEST_S3_ACCESS_KEY"] ?? "",
    secretKey: process.env["DEVICE_OTA_TEST_S3_SECRET_KEY"] ?? "",
    region: process.env["DEVICE_OTA_TEST_S3_REGION"] ?? "us-east-1",
    [Symbol.asyncDispose]: async () => undefined,
  };
  describeS3(() => server);
});

const swift = swiftIsInstalled();

describe.runIf(swift)("S3 of OpenStack Swift", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startSwift();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  describeS3(() => server);
});

it("knows whether it could run on OpenStack Swift", (context) => {
  if (!swift) context.skip("S3 of OpenStack Swift: Debian's package python3-swift is not installed");
  expect(swift).toBe(true);
});

describe("object store in S3 that is away", () => {
  const bytes = randomBytes(1000);
  const { sha256, sizeBytes } = infoOf(bytes);
  const unavailable = { code: "unavailable", reason: "STORAGE_UNAVAILABLE" };
  let cleanup: AsyncDisposableStack;
  let stagingFolder: string;

  beforeEach(async () => {
    cleanup = new AsyncDisposableStack();
    stagingFolder = await mkdtemp(join(tmpdir(), "device-ota-objects-"));
    cleanup.defer(() => rm(stagingFolder, { recursive: true, force: true }));
  });

  afterEach(() => cleanup.disposeAsync());

  /** A store on a server that treats every request like that. */
  const storeOn = async (handler: RequestListener, more: Partial<S3Options> = {}): Promise<S3ObjectStore> => {
    const server = createServer(handler).listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanup.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const options = {
      endpoint,
      bucket: "firmware",
      credentials: { accessKey: "a", secretKey: "b" },
      stagingFolder,
    };
    return cleanup.use(new S3ObjectStore({ ...options, idleTimeoutMs: 200, ...more }, new FakeClock()));
  };

  it.each<[string, RequestListener]>([
    ["fails", (_, response) => response.writeHead(500).end()],
    ["hangs", () => undefined],
    ["hangs up", (request) => request.socket.destroy()],
  ])(
    "says UNAVAILABLE when the server %s, and keeps a resumable upload and nothing else",
    async (_, handler) => {
      const store = await storeOn(handler);
      await expect(store.check()).rejects.toMatchObject(unavailable);
      await expect(store.stat(sha256)).rejects.toMatchObject(unavailable);
      await expect(store.read(sha256)).rejects.toMatchObject(unavailable);
      await expect(store.put(chunks(bytes), { maxBytes: LIMIT })).rejects.toMatchObject(unavailable);
      expect(await readdir(stagingFolder)).toEqual([]);

      await using upload = await store.openUpload("kept", { maxBytes: LIMIT });
      await upload.append(0, bytes);
      await expect(upload.finish({ sha256, sizeBytes })).rejects.toMatchObject(unavailable);
      expect(upload.receivedBytes).toBe(bytes.length);
      expect(await readdir(stagingFolder)).toEqual(["kept.upload"]);
    },
  );

  it("gives up a server that hangs at once, and does not wait for it again and again", async () => {
    let requests = 0;
    const store = await storeOn(() => void requests++);
    await expect(store.stat(sha256)).rejects.toMatchObject(unavailable);
    expect(requests).toBe(1);
  });

  it.each<[string, (response: ServerResponse) => void]>([
    [
      "half a body",
      (response) => response.writeHead(206, { "content-length": 1000 }).write(bytes.subarray(0, 500)),
    ],
    ["a body that never ends", (response) => response.writeHead(206).write(Buffer.alloc(2000))],
  ])("fails a read of %s", async (_, answer) => {
    const store = await storeOn((request, response) => {
      if (request.method === "HEAD") response.writeHead(200, { "content-length": sizeBytes }).end();
      else answer(response);
    });
    await expect(read(store.read(sha256))).rejects.toMatchObject(unavailable);
  });

  it.each([
    [{ kind: "sse-s3" } as const, { "x-amz-server-side-encryption": "AES256" }],
    [
      { kind: "sse-kms", keyId: "fleet-key" } as const,
      {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "fleet-key",
      },
    ],
  ])(
    "asks for encryption with each object, whole and in parts, and with the probe: %o",
    async (encryption, expected) => {
      const begun: Record<string, unknown>[] = [];
      const store = await storeOn(
        ({ method, headers, url }, response) => {
          if (method === "PUT" && !url?.includes("uploadId")) begun.push(headers);
          if (method === "POST") begun.push(headers);
          response.writeHead(500).end();
        },
        { encryption, partSizeBytes: 2_000 },
      );
      await expect(store.put(chunks(bytes), { maxBytes: LIMIT })).rejects.toMatchObject(unavailable);
      await expect(store.put(chunks(randomBytes(5_000)), { maxBytes: LIMIT })).rejects.toMatchObject(
        unavailable,
      );
      expect(begun.length).toBeGreaterThanOrEqual(2);
      const before = begun.length;
      await expect(store.check()).rejects.toMatchObject(unavailable);
      expect(begun.length).toBeGreaterThan(before);
      for (const headers of begun) expect(headers).toMatchObject(expected);
    },
  );

  it("discards what the server stored wrongly", async () => {
    const requests: string[] = [];
    const store = await storeOn((request, response) => {
      requests.push(request.method ?? "");
      const wrong = Buffer.alloc(sizeBytes);
      request.resume().on("end", () => {
        if (request.method === "GET") response.writeHead(206, { "content-length": sizeBytes }).end(wrong);
        else if (request.method === "HEAD") response.writeHead(200, { "content-length": sizeBytes }).end();
        else response.writeHead(request.method === "DELETE" ? 204 : 200).end();
      });
    });
    await expect(store.put(chunks(bytes), { maxBytes: LIMIT })).rejects.toMatchObject(unavailable);
    expect(requests).toEqual(["PUT", "HEAD", "GET", "DELETE"]);
  });
});

function describeS3(server: () => S3Server): void {
  const partSizeBytes = 5 * MIB;
  const fixture = async (): Promise<StoreFixture & { options: S3Options; client: Client }> => {
    const { endpoint, accessKey, secretKey, region } = server();
    const stagingFolder = await mkdtemp(join(tmpdir(), "device-ota-staging-"));
    const bucket = `ota-${randomBytes(6).toString("hex")}`;
    const options = {
      endpoint,
      credentials: { accessKey, secretKey },
      bucket,
      region,
      stagingFolder,
      partSizeBytes,
      pageSize: 2,
    };
    const url = new URL(endpoint);
    const client = new Client({
      endPoint: url.hostname,
      port: Number(url.port || (url.protocol === "https:" ? 443 : 80)),
      useSSL: url.protocol === "https:",
      accessKey,
      secretKey,
      region,
    });
    await client.makeBucket(bucket, region);
    const clock = new FakeClock();
    return {
      options,
      client,
      clock,
      stagingFolder,
      partSizeBytes,
      open: () => new S3ObjectStore(options, clock),
      [Symbol.asyncDispose]: async () => {
        for await (const item of client.listObjectsV2(bucket, "", true)) {
          await client.removeObject(bucket, String(item.name));
        }
        await client.removeBucket(bucket).catch(() => undefined);
        await rm(stagingFolder, { recursive: true, force: true });
      },
    };
  };

  describeObjectStore("object store in S3", fixture);

  describe("object store in S3, besides", () => {
    it("signs URLs that anybody can read ranges from", async () => {
      await using place = await fixture();
      await using store = place.open();
      const bytes = randomBytes(10_000);
      const { sha256 } = await store.put(chunks(bytes), { maxBytes: LIMIT });
      place.clock.setWallClock(new Date());
      const url = await store.presignedUrl(sha256, 60);
      const response = await fetch(url ?? "", { headers: { range: "bytes=100-199" } });
      expect(response.status).toBe(206);
      expect(Buffer.from(await response.arrayBuffer()).equals(bytes.subarray(100, 200))).toBe(true);
      expect(response.headers.get("content-disposition")).toBe(`attachment; filename="${sha256}.bin"`);
    });

    it("signs URLs that die, and are good for one object and for reading it", async () => {
      await using place = await fixture();
      await using store = place.open();
      const { sha256 } = await store.put(chunks(randomBytes(1_000)), { maxBytes: LIMIT });
      const other = await store.put(chunks(randomBytes(1_000)), { maxBytes: LIMIT });
      place.clock.setWallClock(new Date(Date.now() - 120_000));
      const dead = await store.presignedUrl(sha256, 60);
      place.clock.setWallClock(new Date());
      const live = (await store.presignedUrl(sha256, 60)) ?? "";
      const elsewhere = live.replace(
        `${sha256.slice(0, 2)}/${sha256}`,
        `${other.sha256.slice(0, 2)}/${other.sha256}`,
      );
      const longer = live.replace("X-Amz-Expires=60", "X-Amz-Expires=6000");
      expect(new Set([live, elsewhere, longer]).size).toBe(3);
      const status = async (url: string | undefined, method = "GET") =>
        (await fetch(url ?? "", { method })).status;
      expect(await status(live)).toBe(200);
      expect([await status(dead), await status(elsewhere), await status(longer)]).toEqual([403, 403, 403]);
      expect([await status(live, "DELETE"), await status(live, "PUT")]).toEqual([403, 403]);
      expect(await store.stat(sha256)).toBeDefined();
    });

    it("tells what others keep in the bucket from its own", async () => {
      await using place = await fixture();
      await using store = place.open();
      const { sha256 } = await store.put(chunks(randomBytes(10)), { maxBytes: LIMIT });
      const strange = ["aa/notes.txt", `sha256/00/${"1".repeat(64)}`, "zz"];
      for (const key of strange) await place.client.putObject(place.options.bucket, key, "of others");
      const found = new Map<string | undefined, number>();
      for await (const page of store.list())
        for (const each of page) found.set(each.sha256, (found.get(each.sha256) ?? 0) + 1);
      expect(found).toEqual(
        new Map([
          [undefined, strange.length],
          [sha256, 1],
        ]),
      );
    });

    it("signs URLs for the host name that others know the store by", async () => {
      await using place = await fixture();
      const publicEndpoint = "https://firmware.example.com:8443";
      await using store = new S3ObjectStore({ ...place.options, publicEndpoint }, place.clock);
      const { sha256 } = infoOf(randomBytes(1));
      const url = new URL((await store.presignedUrl(sha256, 60)) ?? "");
      expect([url.origin, url.pathname]).toEqual([
        publicEndpoint,
        `/${place.options.bucket}/sha256/${sha256.slice(0, 2)}/${sha256}`,
      ]);
      await using before = new S3ObjectStore(
        { ...place.options, publicEndpoint, pathStyle: false },
        place.clock,
      );
      expect(new URL((await before.presignedUrl(sha256, 60)) ?? "").hostname).toBe(
        `${place.options.bucket}.firmware.example.com`,
      );
    });

    it("is not ready without its bucket or with a wrong secret", async () => {
      await using place = await fixture();
      await using noBucket = new S3ObjectStore({ ...place.options, bucket: "ota-missing" }, place.clock);
      await expect(noBucket.check()).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
      await using noSecret = new S3ObjectStore(
        { ...place.options, credentials: { accessKey: server().accessKey, secretKey: "wrong" } },
        place.clock,
      );
      await expect(noSecret.check()).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    });

    it("collects multipart uploads that a killed service left", async (context) => {
      await using place = await fixture();
      await using store = place.open();
      const { bucket } = place.options;
      const { sha256 } = infoOf(randomBytes(1));
      await place.client.initiateNewMultipartUpload(bucket, `sha256/${sha256.slice(0, 2)}/${sha256}`, {});
      const listed = await place.client.listIncompleteUploads(bucket, "sha256/", true).toArray();
      if (listed.length === 0) context.skip("the store lists uploads by their whole key alone, as MinIO");
      place.clock.setWallClock(new Date());
      expect(await store.collectStale(3_600_000)).toBe(0);
      place.clock.advance(7_200_000);
      expect(await store.collectStale(3_600_000)).toBe(1);
      expect(await store.collectStale(3_600_000)).toBe(0);
    });

    it("leaves no multipart upload behind when one is cut", async () => {
      await using place = await fixture();
      await using store = place.open();
      const bytes = randomBytes(4 * partSizeBytes);
      await using upload = await store.openUpload("cut", { maxBytes: LIMIT });
      await upload.append(0, bytes);
      const signal = AbortSignal.timeout(100);
      await upload.finish(infoOf(bytes), signal).catch(() => undefined);
      place.clock.setWallClock(new Date(Date.now() + 1_000));
      expect(await store.collectStale(0)).toBe(0);
    });
  });
}
