import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { roleCredentials } from "./s3-credentials.ts";
import { S3ObjectStore } from "./s3-object-store.ts";

let cleanup: AsyncDisposableStack;
beforeEach(() => {
  cleanup = new AsyncDisposableStack();
  // None of the machine's own.
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) setEnv(name, undefined);
  setEnv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
  setEnv("AWS_CONFIG_FILE", "/dev/null");
});
afterEach(() => cleanup.disposeAsync());

function setEnv(name: string, value: string | undefined): void {
  const before = process.env[name];
  cleanup.defer(() => restore(name, before));
  restore(name, value);
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

async function serve(handler: RequestListener): Promise<string> {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The headers of the first request that a store with the machine's role sends. */
async function signedRequest(): Promise<IncomingMessage["headers"]> {
  const requests: IncomingMessage[] = [];
  const endpoint = await serve((request, response) => {
    requests.push(request);
    response.writeHead(200, { "content-length": 5 }).end();
  });
  const stagingFolder = await mkdtemp(join(tmpdir(), "device-ota-roles-"));
  cleanup.defer(() => rm(stagingFolder, { recursive: true, force: true }));
  const options = { endpoint, bucket: "firmware", credentials: roleCredentials(), stagingFolder };
  await using store = new S3ObjectStore(options, systemClock);
  await store.stat("0".repeat(64));
  return requests[0]?.headers ?? {};
}

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();

it("takes the environment's keys", async () => {
  setEnv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT");
  setEnv("AWS_SECRET_ACCESS_KEY", "secret");
  setEnv("AWS_SESSION_TOKEN", "session");
  const headers = await signedRequest();
  expect(headers.authorization).toContain("Credential=AKIAENVIRONMENT/");
  expect(headers["x-amz-security-token"]).toBe("session");
});

it("takes an instance's role by IMDSv2", async () => {
  const asked: string[] = [];
  const metadata = await serve(({ method, url, headers }, response) => {
    asked.push(`${method} ${url}`);
    if (method === "PUT") return response.end("a-token");
    if (headers["x-aws-ec2-metadata-token"] !== "a-token") return response.writeHead(401).end();
    if (url?.endsWith("/security-credentials/")) return response.end("firmware-role");
    const role = {
      Code: "Success",
      AccessKeyId: "ASIAINSTANCE",
      SecretAccessKey: "s",
      Token: "instance-session",
    };
    return response.end(
      JSON.stringify({ ...role, Type: "AWS-HMAC", Expiration: inAnHour(), LastUpdated: inAnHour() }),
    );
  });
  setEnv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata);
  const headers = await signedRequest();
  expect(headers.authorization).toContain("Credential=ASIAINSTANCE/");
  expect(headers["x-amz-security-token"]).toBe("instance-session");
  expect(asked).toEqual([
    "PUT /latest/api/token",
    "GET /latest/meta-data/iam/security-credentials/",
    "GET /latest/meta-data/iam/security-credentials/firmware-role",
  ]);
});

it("takes a container's role, with the token of its file", async () => {
  const metadata = await serve(({ headers }, response) => {
    if (headers.authorization !== "pod-token") return response.writeHead(401).end();
    const role = { AccessKeyId: "ASIACONTAINER", SecretAccessKey: "s", Token: "pod-session" };
    return response.end(JSON.stringify({ ...role, Expiration: inAnHour() }));
  });
  setEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${metadata}/v1/credentials`);
  setEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token");
  expect((await signedRequest()).authorization).toContain("Credential=ASIACONTAINER/");
});

it("says that the store cannot be used where the machine has no role", async () => {
  setEnv("AWS_EC2_METADATA_DISABLED", "true");
  await expect(signedRequest()).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
});

it("gives credentials up that do not come, for requests and for URLs", async () => {
  const stagingFolder = await mkdtemp(join(tmpdir(), "device-ota-roles-"));
  cleanup.defer(() => rm(stagingFolder, { recursive: true, force: true }));
  const credentials = () => new Promise<never>(() => undefined);
  const endpoint = "http://127.0.0.1:1";
  const options = { endpoint, bucket: "firmware", credentials, stagingFolder, idleTimeoutMs: 20 };
  await using store = new S3ObjectStore(options, systemClock);
  const unavailable = { code: "unavailable", reason: "STORAGE_UNAVAILABLE" };
  await expect(store.stat("0".repeat(64))).rejects.toMatchObject(unavailable);
  await expect(store.presignedUrl("0".repeat(64), 60)).rejects.toMatchObject(unavailable);
});
