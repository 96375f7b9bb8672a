import { mkdtempDisposable, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { eventually } from "../support/eventually.ts";
import { httpsCall } from "../support/https-call.ts";
import { type CliRun, runCli, startCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Listeners on the way: nothing is said to another machine in clear unless somebody means it. */

let ca: string;
let key: string;
let service: TestService;
let server: string;
let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;

beforeAll(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), "device-ota-plaintext-"));
  await runCli(["certificate", "self-signed", "--host", "localhost,127.0.0.1"], { cwd: folder.path });
  ca = join(folder.path, "certificate.pem");
  key = join(folder.path, "key.pem");
  service = await startTestService({
    settings: { DEVICE_OTA_TLS_CERT_FILE: ca, DEVICE_OTA_TLS_KEY_FILE: key },
  });
  // A name, because TLS has no place for addresses where a client says whom it wants (RFC 6066).
  server = `https://${service.grpcAddress.replace("127.0.0.1", "localhost")}`;
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const run = (...args: string[]) =>
  runCli(args, { cwd: folder.path, env: { DEVICE_OTA_TOKEN: service.adminToken } });

describe("by TLS, with a certificate that the command line made", () => {
  it("its key is for its owner alone, and never made anew in its place", async () => {
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    const again = await run("certificate", "self-signed", "--host", "localhost");
    expect(again).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("key.pem exists") });
    const wrong = await run("certificate", "self-signed", "--host", "https://localhost", "--out", "/");
    expect(wrong).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("neither a DNS name") });
  });

  it("the command line reaches the service, named by an option or the environment", async () => {
    const named = await run("--server", server, "--ca", ca, "token", "list");
    expect(named).toMatchObject({ exitCode: 0, stderr: "" });
    const env = { DEVICE_OTA_TOKEN: service.adminToken, DEVICE_OTA_CA_FILE: ca, DEVICE_OTA_SERVER: server };
    expect(await runCli(["token", "list"], { cwd: folder.path, env })).toMatchObject({ exitCode: 0 });
  });

  it("simulated devices join", async () => {
    const args = ["--server", server, "--ca", ca, "simulate", "--count", "2"];
    const simulator = startCli([...args, "--enrolment-key", service.enrolmentKey], {
      cwd: folder.path,
      env: { DEVICE_OTA_TOKEN: service.adminToken },
    });
    expect(await outputUntil(simulator, "2 of 2 on a stream")).toContain("2 on 1.0.0");
  });

  it("an agent enrols and streams", async () => {
    await writeFile(join(folder.path, "version"), "1.0.0");
    await run("firmware", "keygen");
    const device = "agent --device-type lamp --model l-1 --serial lamp-1 --version-file version";
    const installs = "--trusted-key signing.pub.pem --install-command true --reboot-command true";
    const agent = startCli(["--server", server, "--ca", ca, ...`${device} ${installs}`.split(" ")], {
      cwd: folder.path,
      env: { DEVICE_OTA_ENROLMENT_KEY: service.enrolmentKey },
    });
    expect(await outputUntil(agent, '"state":"connected"')).toContain("enrolled");
  });

  it("browsers and scripts reach the HTTP port, and the console's cookie is for TLS alone", async () => {
    const trust = { ca: await readFile(ca) };
    const body = JSON.stringify({ token: service.adminToken });
    const headers = { "x-ota-console": "1", "content-type": "application/json" };
    const signedIn = await httpsCall(`${service.httpUrl}/session`, {
      ...trust,
      method: "POST",
      headers,
      body,
    });
    expect(signedIn.headers["strict-transport-security"]).toBe("max-age=31536000");
    const cookie = signedIn.headers["set-cookie"]?.[0] ?? "";
    expect(cookie).toMatch(/^__Host-ota_session=.*; Secure/);
    const asked = { ...trust, headers: { ...headers, cookie: cookie.split(";")[0] } };
    const me = await httpsCall(`${service.httpUrl}/api/v1/access/whoami`, asked);
    expect(JSON.parse(me.body)).toMatchObject({ role: "ROLE_ADMIN" });
  });

  it("metrics tell when the certificate ends, and that it is looked after", async () => {
    const { body } = await httpsCall(`${service.httpUrl}/metrics`, { ca: await readFile(ca) });
    const ends = Number(/^device_ota_tls_certificate_expiry_timestamp_seconds (\S+)$/m.exec(body)?.[1]);
    expect(ends).toBeGreaterThan(Date.now() / 1_000 + 364 * 86_400);
    expect(body).toContain('device_ota_background_runs_total{work="certificate",outcome="failed"} 0');
  });

  it("who does not know the authority, or speaks in clear, gets nothing", async () => {
    expect((await run("--server", server, "token", "list")).exitCode).toBe(6);
    expect((await run("--server", service.grpcAddress, "token", "list")).exitCode).toBe(6);
  });
});

describe("in clear", () => {
  it.each([
    ["the command line", "token list"],
    ["a simulated fleet", "simulate --count 1"],
    [
      "an agent",
      "agent --device-type lamp --model l-1 --trusted-key signing.pub.pem --enrolment-key ota_enrol_secret --install-command true",
    ],
  ])("%s does not reach another machine", async (_who, command) => {
    const result = await run("--server", "ota.example.com:50051", ...command.split(" "));
    expect(result).toMatchObject({ exitCode: 2, stdout: "" });
    expect(result.stderr).toContain("would be reached in clear");
    expect(result.stderr).toContain("https://ota.example.com:50051");
  });

  it("a client of the library does not either, without having been told so", () => {
    expect(() => new RpcClient({ address: "ota.example.com:50051", token: "t" })).toThrow("another machine");
  });

  it("the service does not listen beyond this machine", async () => {
    const result = await run("serve", "--host", "0.0.0.0", "--http-port", "0", "--grpc-port", "0");
    expect(result.exitCode).not.toBe(0);
    expect(result.stderr).toContain("DEVICE_OTA_ALLOW_PLAINTEXT");
  });

  it("it does where somebody says that a proxy stands before it", async () => {
    await using open = await startTestService({
      settings: { DEVICE_OTA_HOST: "0.0.0.0", DEVICE_OTA_ALLOW_PLAINTEXT: "true" },
    });
    const port = open.grpcAddress.split(":").at(-1);
    const result = await run("--server", `127.0.0.1:${port}`, "token", "list");
    expect(result).toMatchObject({ exitCode: 0, stderr: "" });
  });
});

/** Waits until it has written that, and ends it. @returns what it wrote */
async function outputUntil({ child, output, result }: CliRun, text: string): Promise<string> {
  try {
    await eventually(() => expect(output.stdout + output.stderr).toContain(text));
  } finally {
    child.kill("SIGTERM");
    await result;
  }
  return output.stdout + output.stderr;
}
