import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { readConfig, settings } from "../../src/config.ts";
import { Metrics } from "../../src/infra/metrics.ts";

const root = join(import.meta.dirname, "../..");
const files = readdirSync(join(root, "deploy"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));
const textOf = (path: string) => readFileSync(join(root, path), "utf8");
const known = new Set(settings.map(({ name }) => name));
const version = (JSON.parse(textOf("package.json")) as { version: string }).version;

interface ComposeService {
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, unknown>> | readonly string[];
  readonly networks?: readonly string[];
  readonly volumes?: readonly string[];
  readonly image: string;
}

const compose = parse(textOf("deploy/compose/compose.yaml"), { merge: true }) as {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<Record<string, unknown>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};

/** The settings of a service in compose, where its file of values says these. */
function configOf(name: string, given: Readonly<Record<string, string>>) {
  const environment = Object.entries(compose.services[name]?.environment ?? {}).map(([key, value]) => [
    key,
    value.replaceAll(
      /\$\{([A-Z_]+):([?+-])([^}]*)\}/g,
      (_all, variable: string, kind: string, word: string) => {
        const known = given[variable] ?? "";
        return kind === "+" ? (known === "" ? "" : word) : kind === "-" && known === "" ? word : known;
      },
    ),
  ]);
  return readConfig(Object.fromEntries(environment) as Record<string, string>);
}

describe("what deploys the service", () => {
  it("names settings that there are", () => {
    const names = files.flatMap((file) => readFileSync(file, "utf8").match(/DEVICE_OTA_[A-Z0-9_]+/g) ?? []);
    expect(names.length).toBeGreaterThan(20);
    expect([...new Set(names)].filter((name) => !known.has(name))).toEqual([]);
  });

  it("is YAML without faults", () => {
    const sources = files.filter((file) => /\.ya?ml$/.test(file) && !file.includes("/templates/"));
    expect(sources.length).toBeGreaterThanOrEqual(5);
    const faults = sources.flatMap((file) =>
      parseAllDocuments(readFileSync(file, "utf8"), { merge: true }).flatMap(({ errors, warnings }) => [
        ...errors,
        ...warnings,
      ]),
    );
    expect(faults).toEqual([]);
  });

  it("has ports, paths and versions of the service", () => {
    const { httpPort, grpcPort } = readConfig({});
    expect(textOf("deploy/Dockerfile")).toContain(`EXPOSE ${httpPort} ${grpcPort}`);
    const probes = textOf("src/api/probe-routes.ts");
    const paths = files.flatMap(
      (file) => readFileSync(file, "utf8").match(/\/health\/[a-z]+|(?<=\s)\/metrics\b/g) ?? [],
    );
    expect(new Set(paths)).toEqual(new Set(["/health/live", "/health/ready", "/metrics"]));
    for (const path of paths) expect(probes).toContain(`"${path}"`);
    const chart = parse(textOf("deploy/helm/device-ota/Chart.yaml")) as Record<string, string>;
    expect([chart["version"], chart["appVersion"]]).toEqual([version, version]);
    expect(compose.services["service-1"]?.image).toBe(`device-ota:${version}`);
    expect(textOf("deploy/helm/device-ota/values.yaml")).toContain(`httpPort: ${httpPort}`);
    expect(textOf("deploy/helm/device-ota/values.yaml")).toContain(`grpcPort: ${grpcPort}`);
  });

  it("grows by a metric that the service has", async () => {
    const { autoscaling } = parse(textOf("deploy/helm/device-ota/values.yaml")) as {
      autoscaling: { metric: string };
    };
    expect(await new Metrics({ processMetrics: false }).text()).toContain(
      `# TYPE ${autoscaling.metric} gauge`,
    );
  });
});

describe("compose", () => {
  it("gives the service settings with which it starts", () => {
    const example = textOf("deploy/compose/settings.example").match(/^[A-Z_]+(?==)/gm) ?? [];
    const secrets = Object.fromEntries(
      example.filter((name) => !name.startsWith("SMTP_")).map((name) => [name, "a-secret-of-24-characters"]),
    );
    const mail = { SMTP_HOST: "mail.example.com", SMTP_FROM: "ota@example.com", SMTP_USER: "ota" };
    for (const name of ["service-1", "service-2"]) {
      const config = configOf(name, secrets);
      expect(config).toMatchObject({ host: "0.0.0.0", storage: { type: "s3", bucket: "firmware" } });
      expect(config.databaseUrl).toContain("a-secret-of-24-characters");
      expect(config.email).toBeUndefined();
      expect(configOf(name, { ...secrets, ...mail }).email?.server).toMatchObject({
        host: "mail.example.com",
        login: { user: "ota", passwordFile: "/run/secrets/smtp-password" },
      });
    }
    const wanted = textOf("deploy/compose/compose.yaml").match(/(?<=\$\{)[A-Z_]+/g) ?? [];
    expect(new Set(wanted)).toEqual(new Set(example));
  });

  it("names services, networks, volumes and files that there are", () => {
    for (const { depends_on: after = [], networks = [], volumes = [] } of Object.values(compose.services)) {
      for (const name of Array.isArray(after) ? after : Object.keys(after))
        expect(Object.keys(compose.services)).toContain(name);
      for (const name of networks) expect(Object.keys(compose.networks)).toContain(name);
      for (const volume of volumes) {
        const [source = ""] = volume.split(":");
        const isFile = source.startsWith(".");
        const there = isFile ? files : Object.keys(compose.volumes);
        expect(there).toContain(isFile ? join(root, "deploy/compose", source) : source);
      }
    }
    const proxied = textOf("deploy/compose/Caddyfile").match(/service-\d/g) ?? [];
    expect(proxied.filter((name) => compose.services[name] === undefined)).toEqual([]);
  });

  it("asks the HTTP port, which speaks HTTP/1.1 alone, for no health of a gRPC port", () => {
    const grpcBlocks = textOf("deploy/compose/Caddyfile").match(/reverse_proxy h2c:[^{]*\{[^}]*\}/g) ?? [];
    expect(grpcBlocks.length).toBeGreaterThan(0);
    for (const block of grpcBlocks) expect(block).not.toMatch(/health_(port|uri)/);
  });
});

describe("the chart", () => {
  it("gives no pod the variables of services, which would be refused as unknown settings", () => {
    const templates = files
      .filter((file) => file.includes("/templates/"))
      .map((file) => readFileSync(file, "utf8"));
    const linesThat = (pattern: RegExp) => templates.flatMap((text) => text.match(pattern) ?? []).length;
    expect(linesThat(/^ +containers:$/gm)).toBeGreaterThan(0);
    expect(linesThat(/^ +enableServiceLinks: false$/gm)).toBe(linesThat(/^ +containers:$/gm));
    expect(() => readConfig({ DEVICE_OTA_SERVICE_HOST: "10.0.0.1" })).toThrow("there is no such setting");
  });
});

describe("docs/production.md", () => {
  const page = textOf("docs/production.md");

  it("gives the container settings with which it starts", () => {
    const pairs = [...page.matchAll(/--env (DEVICE_OTA_[A-Z_]+)=(\S+)/g)].map(([, key = "", value = ""]) => [
      key,
      value,
    ]);
    expect(pairs.length).toBeGreaterThan(3);
    expect(readConfig(Object.fromEntries(pairs))).toMatchObject({ host: "0.0.0.0" });
  });

  it("names files of the archive that are packed into it", () => {
    const { files: packed } = JSON.parse(textOf("package.json")) as { files: readonly string[] };
    const named = page.match(/(?<=\/opt\/device-ota\/)\S+/g) ?? [];
    expect(named.length).toBeGreaterThan(0);
    for (const file of named) {
      expect(files).toContain(join(root, file));
      expect(packed.filter((folder) => file.startsWith(`${folder}/`))).toHaveLength(1);
    }
  });
});

describe("the systemd unit", () => {
  const unit = "deploy/systemd/device-ota.service";

  it("starts the service where the tarball is unpacked, and gives it time to drain", () => {
    const text = textOf(unit);
    expect(text).toContain("ExecStart=/opt/device-ota/bin/device-ota serve");
    const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(text)?.[1]);
    expect(stop).toBeGreaterThan(readConfig({}).drainSeconds);
  });

  // Only where systemd is; the settings themselves hold everywhere.
  it.skipIf(spawnSync("systemd-analyze", ["--version"]).error !== undefined)("is accepted by systemd", () => {
    const { stderr } = spawnSync("systemd-analyze", ["verify", join(root, unit)], { encoding: "utf8" });
    const complaints = stderr
      .split("\n")
      .filter((line) => line !== "" && !line.includes("is not executable"));
    expect(complaints).toEqual([]);
  });
});
