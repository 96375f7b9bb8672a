import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, it, vi } from "vitest";
import { EMBEDDED_ROLES } from "../../src/infra/postgres/roles.ts";
import { execute } from "../support/global-setup.ts";
import { MailServer } from "../support/mail-server.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { runCli } from "../support/run-cli.ts";

// Every step is a process that loads the command line: some 0.3 s, but several on a machine that is busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

interface Findings {
  readonly findings: readonly {
    readonly subject: string;
    readonly verdict: string;
    readonly message: string;
    readonly remedy?: string;
  }[];
}

it("finds what is well, and what is wrong with settings, store, certificate and database, and says what to do", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-doctor-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
  const database = cleanup.use(await createTestDatabase());
  const examine = async (env: Readonly<Record<string, string>>) => {
    const { exitCode, stdout } = await runCli(["doctor", "--json"], { cwd, env });
    return { exitCode, ...(JSON.parse(stdout) as Findings) };
  };

  const well = await examine({ DEVICE_OTA_DATABASE_URL: database.serviceUrl });
  expect(well.findings.filter(({ verdict }) => verdict === "fault")).toEqual([]);
  expect(well.exitCode).toBe(0);
  const subjects = new Set(well.findings.map(({ subject }) => subject));
  for (const subject of [
    "settings",
    "database",
    "schema",
    "writes",
    "clock",
    "store",
    "certificate",
    "e-mail",
    "disk",
    "open files",
  ])
    expect(subjects).toContain(subject);

  const mails = cleanup.use(await MailServer.start());
  const smtp = {
    DEVICE_OTA_SMTP_HOST: "127.0.0.1",
    DEVICE_OTA_SMTP_PORT: String(mails.port),
    DEVICE_OTA_SMTP_FROM: "ota@example.com",
  };
  const before = await examine({ ...smtp, DEVICE_OTA_SMTP_TLS: "off" });
  expect(before.findings).toContainEqual({
    subject: "e-mail",
    verdict: "ok",
    message: `127.0.0.1:${mails.port} (TLS: off) lets the service in without a login`,
  });
  expect(before.exitCode).toBe(0);
  expect(before.findings).toContainEqual({
    subject: "database",
    verdict: "ok",
    message: expect.stringContaining("the first start makes one"),
  });

  const misspelt = await examine({ DEVICE_OTA_HTP_PORT: "80" });
  expect(misspelt).toMatchObject({
    exitCode: 5,
    findings: [
      { subject: "settings", verdict: "fault", message: expect.stringContaining("DEVICE_OTA_HTP_PORT") },
    ],
  });

  // A file where a folder should be: not even root can write into it.
  const file = join(cwd, "file");
  await writeFile(file, "no certificate");
  await execute(
    database.url,
    `ALTER DATABASE ${nameOf(database.url)} SET default_transaction_read_only = on`,
  );
  const ill = await examine({
    DEVICE_OTA_DATABASE_URL: database.serviceUrl,
    DEVICE_OTA_STORAGE_BASE_PATH: join(file, "store"),
    DEVICE_OTA_TLS_CERT_FILE: file,
    DEVICE_OTA_TLS_KEY_FILE: file,
    // It has no STARTTLS, without which nothing is said.
    ...smtp,
  });
  expect(ill.exitCode).toBe(5);
  const faults = ill.findings.filter(({ verdict }) => verdict === "fault");
  expect(new Set(faults.map(({ subject }) => subject))).toEqual(
    new Set(["disk", "store", "certificate", "e-mail", "writes"]),
  );
  expect(faults.filter(({ remedy }) => remedy === undefined)).toEqual([]);

  const away = await examine({ DEVICE_OTA_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" });
  expect(away.exitCode).toBe(5);
  expect(away.findings).toContainEqual(expect.objectContaining({ subject: "database", verdict: "fault" }));
});

// On a server of one's own one role does everything.
it.skipIf(inject("serviceUrl") === inject("databaseUrl"))(
  "finds that the role of the service lacks a right on a table or a partition function",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const cwd = await mkdtemp(join(tmpdir(), "device-ota-doctor-"));
    cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
    const database = cleanup.use(await createTestDatabase());
    const { service } = EMBEDDED_ROLES;
    await execute(
      database.url,
      `REVOKE UPDATE ON devices FROM ${service};
       REVOKE DELETE ON webhooks FROM ${service};
       REVOKE EXECUTE ON FUNCTION make_time_partition FROM ${service}`,
    );
    const env = { DEVICE_OTA_DATABASE_URL: database.serviceUrl };
    const { exitCode, stdout } = await runCli(["doctor", "--json"], { cwd, env });
    expect(exitCode).toBe(5);
    const { findings } = JSON.parse(stdout) as Findings;
    expect(findings.filter(({ verdict }) => verdict === "fault")).toEqual([
      {
        subject: "writes",
        verdict: "fault",
        message: "the role lacks UPDATE on devices, DELETE on webhooks, EXECUTE on make_time_partition",
        remedy: expect.stringContaining("device-ota migrate up"),
      },
    ]);
  },
);

function nameOf(url: string): string {
  return new URL(url).pathname.slice(1);
}
