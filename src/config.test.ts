import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigError, readConfig, settings } from "./config.ts";
import { type Field, isFromSetting } from "./policy/field.ts";
import { policyFields } from "./policy/policy-fields.ts";

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe("readConfig", () => {
  it("has a default for everything", () => {
    expect(readConfig({})).toMatchObject({
      databaseUrl: undefined,
      dataDir: resolve("./data"),
      host: "127.0.0.1",
      httpPort: 8080,
      grpcPort: 50051,
      tls: undefined,
      storage: { type: "local", basePath: resolve("./data/storage/firmware") },
      rollback: { failureThresholdPercent: 10, timeoutHours: 6 },
      rateLimits: {
        heartbeat: { calls: 100, periodMs: 60_000 },
        update_check: { calls: 10, periodMs: 60_000 },
      },
      requireSignature: true,
      log: { level: "info", format: "auto" },
      corsOrigins: [],
    });
  });

  it("reads what is set; empty counts as unset, other programs' variables are ignored", () => {
    const config = readConfig({
      PATH: "/bin",
      DEVICE_OTA_HOST: "",
      DEVICE_OTA_HTTP_PORT: " 0 ",
      DEVICE_OTA_GRPC_PORT: "0",
      DEVICE_OTA_DATA_DIR: "/var/lib/ota",
      DEVICE_OTA_RATE_LIMIT_API: "off",
      DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "5/second",
      DEVICE_OTA_AUTO_ROLLBACK_FAILURE_THRESHOLD: "12.5",
      DEVICE_OTA_REQUIRE_SIGNATURE: "false",
      DEVICE_OTA_CORS_ORIGINS: "https://a.example, http://localhost:5173",
      DEVICE_OTA_TEST_ANYTHING: "x",
      DEVICE_OTA_TLS_CERT_FILE: "/c.pem",
      DEVICE_OTA_TLS_KEY_FILE: "/k.pem",
    });
    expect(config).toMatchObject({
      host: "127.0.0.1",
      httpPort: 0,
      grpcPort: 0,
      storage: { basePath: "/var/lib/ota/storage/firmware" },
      rateLimits: { operator: undefined, device: undefined, heartbeat: { calls: 5, periodMs: 1_000 } },
      rollback: { failureThresholdPercent: 12.5 },
      requireSignature: false,
      corsOrigins: ["https://a.example", "http://localhost:5173"],
      tls: { certFile: "/c.pem", keyFile: "/k.pem", minVersion: "TLSv1.2", http: true },
    });
  });

  it("reads what people of an issuer are limited to", () => {
    const { oidc } = readConfig({
      DEVICE_OTA_OIDC_ISSUER: "https://id.example.com",
      DEVICE_OTA_OIDC_AUDIENCE: "ota",
      DEVICE_OTA_OIDC_LIMITS:
        '{"/ota/berlin": {"products": ["boiler"], "device_filter": " groups:berlin "}, "OTA all": {"unlimited": true}}',
    });
    expect(oidc?.limits).toEqual({
      claim: "groups",
      named: new Map([
        ["/ota/berlin", { products: ["boiler"], deviceFilter: "groups:berlin" }],
        ["OTA all", undefined],
      ]),
    });
  });

  it.each([
    ["berlin", /must be JSON/],
    ["[]", /must be JSON/],
    ["{}", /must name 1 to/],
    ['{"berlin": null}', /must be JSON/],
    ['{"berlin": {}}', /must say products or a device_filter of berlin, or else/],
    ['{"berlin": {"device_filter": " "}}', /must say products or/],
    ['{"berlin": {"products": ["boiler"], "unlimited": true}}', /must say products or/],
    ['{"berlin": {"unlimited": "false"}}', /must say products or/],
    ['{"berlin": {"product": ["boiler"], "unlimited": true}}', /says product of berlin/],
    ['{"berlin": {"products": "boiler"}}', /must have a list/],
    ['{"berlin": {"products": ["a\\" OR id:*"]}}', /must have a list/],
    ['{"": {"unlimited": true}}', /must name groups by/],
    ['{"gr\\u00fcn": {"unlimited": true}}', /must name groups by/],
  ])("refuses limits of people that leave open what they are: %s", (limits, fault) => {
    const env = {
      DEVICE_OTA_OIDC_ISSUER: "https://id.example.com",
      DEVICE_OTA_OIDC_AUDIENCE: "ota",
      DEVICE_OTA_OIDC_LIMITS: limits,
    };
    expect(faultsOf(env)).toEqual([expect.stringMatching(fault)]);
  });

  it.each([
    ["https://key@errors.example.com/7", "https://errors.example.com/api/7/envelope/"],
    ["http://key@127.0.0.1:9000/below/12", "http://127.0.0.1:9000/below/api/12/envelope/"],
    ["https://key:secret@errors.example.com/7", "https://errors.example.com/api/7/envelope/"],
  ])("reads from the DSN %s where errors are sent", (dsn, url) => {
    const { errorTracking } = readConfig({ DEVICE_OTA_SENTRY_DSN: dsn });
    expect(errorTracking).toEqual({ receiver: { url, key: "key" }, environment: "production" });
  });

  it.each([
    "https://errors.example.com/7",
    "https://key@errors.example.com/",
    "key@host/7",
    "ftp://key@host/7",
    "https://key@host/abc?x=/7",
    "https://key@host/7?x",
    "https://key@host/7#x",
    "https://:secret@host/7",
    "https:key@host/7",
  ])("refuses %s, which is no DSN", (dsn) => {
    expect(faultsOf({ DEVICE_OTA_SENTRY_DSN: dsn })).toEqual([
      "DEVICE_OTA_SENTRY_DSN: must be a DSN such as https://key@errors.example.com/7",
    ]);
  });

  it("reads the settings of e-mails, and refuses what does not go together or would send a password in clear", () => {
    const smtp = { DEVICE_OTA_SMTP_HOST: "mail.example.com", DEVICE_OTA_SMTP_FROM: "OTA <ota@example.com>" };
    const login = { DEVICE_OTA_SMTP_USER: "ota", DEVICE_OTA_SMTP_PASSWORD_FILE: "/p" };
    expect(readConfig({}).email).toBeUndefined();
    expect(
      readConfig({ ...smtp, ...login, DEVICE_OTA_PUBLIC_URL: "https://ota.example.com/" }).email,
    ).toMatchObject({
      server: {
        host: "mail.example.com",
        port: 587,
        tls: "starttls",
        from: { name: "OTA", address: "ota@example.com" },
        login: { user: "ota", passwordFile: "/p" },
      },
      publicUrl: "https://ota.example.com",
    });
    expect(readConfig({ ...smtp, DEVICE_OTA_SMTP_TLS: "implicit" }).email?.server.port).toBe(465);
    expect(readConfig({ ...smtp, DEVICE_OTA_SMTP_FROM: "a@b.example" }).email?.server.from).toEqual({
      name: "",
      address: "a@b.example",
    });
    expect(faultsOf(login)).toHaveLength(2);
    expect(faultsOf({ DEVICE_OTA_SMTP_HOST: "mail.example.com", DEVICE_OTA_SMTP_USER: "ota" })).toEqual([
      "DEVICE_OTA_SMTP_FROM: is required with DEVICE_OTA_SMTP_HOST",
      "DEVICE_OTA_SMTP_PASSWORD_FILE: is missing; user and password come together",
    ]);
    expect(faultsOf({ ...smtp, ...login, DEVICE_OTA_SMTP_TLS: "off" })).toEqual([
      "DEVICE_OTA_SMTP_TLS: off would send the password in clear, and mail.example.com is beyond this machine",
    ]);
    for (const from of ["ota", "a@example.com, b@example.com", "OTA <a@example.com> <b@example.com>"])
      expect(faultsOf({ ...smtp, DEVICE_OTA_SMTP_FROM: from })).toHaveLength(1);
    for (const url of [
      "ota.example.com",
      "javascript:alert(1)",
      "https://u:p@ota.example.com",
      "https://ota.example.com/?a",
    ])
      expect(faultsOf({ DEVICE_OTA_PUBLIC_URL: url })).toHaveLength(1);
  });

  it("reads the object store's settings", () => {
    const s3 = { DEVICE_OTA_STORAGE_TYPE: "s3", DEVICE_OTA_STORAGE_S3_BUCKET: "firmware" };
    expect(readConfig(s3).storage).toMatchObject({
      type: "s3",
      bucket: "firmware",
      region: "us-east-1",
    });
    expect(faultsOf({ DEVICE_OTA_MIGRATION_DATABASE_URL: "postgres://owner@db/ota" })).toEqual([
      "DEVICE_OTA_MIGRATION_DATABASE_URL: is of use only with DEVICE_OTA_DATABASE_URL",
    ]);
    expect(faultsOf({ DEVICE_OTA_STORAGE_TYPE: "s3", DEVICE_OTA_STORAGE_S3_ACCESS_KEY: "k" })).toEqual([
      "DEVICE_OTA_STORAGE_S3_BUCKET: is required with DEVICE_OTA_STORAGE_TYPE=s3",
      "DEVICE_OTA_STORAGE_S3_SECRET_KEY: is missing; access key and secret key come together",
    ]);
    const sealed = { ...s3, DEVICE_OTA_STORAGE_S3_ENCRYPTION: "sse-kms", DEVICE_OTA_STORAGE_S3_KMS_KEY: "k" };
    expect(readConfig(sealed).storage).toMatchObject({
      keys: undefined,
      pathStyle: true,
      encryption: { kind: "sse-kms", keyId: "k" },
    });
    const misled = {
      ...s3,
      DEVICE_OTA_STORAGE_S3_KMS_KEY: "k",
      DEVICE_OTA_STORAGE_S3_PUBLIC_ENDPOINT: "https://cdn.example/firmware",
    };
    expect(faultsOf(misled)).toEqual([
      "DEVICE_OTA_STORAGE_S3_KMS_KEY: is of use only with DEVICE_OTA_STORAGE_S3_ENCRYPTION=sse-kms",
      "DEVICE_OTA_STORAGE_S3_PUBLIC_ENDPOINT: must be scheme, host and port alone",
    ]);
  });

  it("names every fault at once", () => {
    const faults = faultsOf({
      DEVICE_OTA_HTTP_PORT: "http",
      DEVICE_OTA_GRPC_PORT: "70000",
      DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "100/fortnight",
      DEVICE_OTA_HEARTBEAT_INTERVALL: "5",
      DEVICE_OTA_STORAGE_TYPE: "ftp",
      DEVICE_OTA_REQUIRE_SIGNATURE: "maybe",
      DEVICE_OTA_CORS_ORIGINS: "https://a.example/path",
    });
    expect(faults.map((fault) => fault.split(":")[0])).toEqual([
      "DEVICE_OTA_HEARTBEAT_INTERVALL",
      "DEVICE_OTA_HTTP_PORT",
      "DEVICE_OTA_GRPC_PORT",
      "DEVICE_OTA_STORAGE_TYPE",
      "DEVICE_OTA_RATE_LIMIT_HEARTBEAT",
      "DEVICE_OTA_REQUIRE_SIGNATURE",
      "DEVICE_OTA_CORS_ORIGINS",
    ]);
    expect(faults[1]).toBe('DEVICE_OTA_HTTP_PORT: must be a whole number from 0 to 65535, not "http"');
  });

  it("finds settings that do not go together", () => {
    expect(
      faultsOf({ DEVICE_OTA_HTTP_PORT: "9000", DEVICE_OTA_GRPC_PORT: "9000", DEVICE_OTA_TLS_KEY_FILE: "/k" }),
    ).toEqual([
      "DEVICE_OTA_GRPC_PORT: must differ from DEVICE_OTA_HTTP_PORT",
      "DEVICE_OTA_TLS_CERT_FILE: is missing; certificate and key come together",
    ]);
  });

  it("listens in clear on this machine alone, unless told", () => {
    const [cert, key] = [{ DEVICE_OTA_TLS_CERT_FILE: "/c" }, { DEVICE_OTA_TLS_KEY_FILE: "/k" }];
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "ota.example.com"]) {
      const listening = { DEVICE_OTA_HOST: host };
      expect(faultsOf(listening)).toEqual([expect.stringContaining("both ports would be in clear")]);
      expect(readConfig({ ...listening, ...cert, ...key }).host).toBe(host);
      expect(faultsOf({ ...listening, ...cert, ...key, DEVICE_OTA_TLS_HTTP: "false" })).toEqual([
        expect.stringContaining("the HTTP port would be in clear"),
      ]);
      expect(readConfig({ ...listening, DEVICE_OTA_ALLOW_PLAINTEXT: "true" }).host).toBe(host);
    }
    for (const host of ["127.0.0.2", "::1", "localhost"])
      expect(readConfig({ DEVICE_OTA_HOST: host }).host).toBe(host);
  });

  it("asks for devices' certificates where there is TLS alone", () => {
    const names = { DEVICE_OTA_TLS_CLIENT_CA_FILE: "/ca", DEVICE_OTA_TLS_CLIENT_CRL_FILE: "/crl" };
    const tls = { DEVICE_OTA_TLS_CERT_FILE: "/c", DEVICE_OTA_TLS_KEY_FILE: "/k" };
    expect(readConfig({ ...tls, ...names }).tls?.clients).toMatchObject({
      caFile: "/ca",
      crlFile: "/crl",
      from: "cn",
    });
    expect(faultsOf(names)).toEqual(["DEVICE_OTA_TLS_CLIENT_CA_FILE: needs DEVICE_OTA_TLS_CERT_FILE"]);
    expect(faultsOf({ ...tls, DEVICE_OTA_TLS_CLIENT_CRL_FILE: "/crl" })).toEqual([
      "DEVICE_OTA_TLS_CLIENT_CRL_FILE: needs DEVICE_OTA_TLS_CLIENT_CA_FILE",
    ]);
    const byId = { DEVICE_OTA_TLS_CLIENT_DEVICE: "id", DEVICE_OTA_TLS_CLIENT_ENROL: "on" };
    expect(faultsOf({ ...tls, ...names, ...byId })).toEqual([
      expect.stringContaining("DEVICE_OTA_TLS_CLIENT_ENROL: needs DEVICE_OTA_TLS_CLIENT_CA_FILE"),
    ]);
  });

  it("finds ciphers that OpenSSL does not know", () => {
    expect(faultsOf({ DEVICE_OTA_TLS_CIPHERS: "RC4-ISH" })).toEqual([
      expect.stringContaining("DEVICE_OTA_TLS_CIPHERS: must be cipher suites"),
    ]);
  });

  it("never repeats a secret", () => {
    const faults = faultsOf({
      DEVICE_OTA_ADMIN_TOKEN: "hunter2",
      DEVICE_OTA_ENROLMENT_KEY: "hunter2 hunter2 hunter2",
      DEVICE_OTA_DATABASE_URL: "mysql://root:hunter2@host/db",
    });
    expect(faults).toHaveLength(3);
    expect(faults.join()).not.toContain("hunter2");
  });
});

describe("settings", () => {
  it("are documented, named alike and unique", () => {
    expect(new Set(settings.map(({ name }) => name)).size).toBe(settings.length);
    for (const { name, meaning } of settings) {
      expect(name).toMatch(/^DEVICE_OTA_[A-Z0-9_]+$/);
      expect(meaning).toMatch(/\.$/);
    }
  });

  it("have defaults that they accept themselves", () => {
    expect(() =>
      readConfig(Object.fromEntries(settings.map((each) => [each.name, each.default]))),
    ).not.toThrow();
  });

  it("are there for every default of a policy that a setting gives", () => {
    const named = Object.values<Field>(policyFields).flatMap(({ default: fallback }) =>
      isFromSetting(fallback) ? [fallback.setting] : [],
    );
    expect(named.length).toBeGreaterThan(0);
    expect(settings.map(({ name }) => name)).toEqual(expect.arrayContaining(named));
  });
});
