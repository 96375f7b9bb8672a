/**
 * The walls between the rooms of this repository: for each folder, what its files may import beside their own room. What
 * stands in no row may not be imported; a folder without a row may import nothing above it. The linter holds them
 * (oxlint.config.ts), and docs/architecture.md shows the same table.
 */

/** What a room may import. */
export interface Wall {
  /**
   * Rooms and files below src/ (`device` for all of it, `device/state` for one of its rooms, `errors.ts`), folders beside src/
   * with a leading slash, and kinds of packages ({@link packageKinds}). `wire` is the generated contract with its runtime.
   */
  readonly may: readonly string[];
  /** What *-handlers.ts, *-messages.ts and *-routes.ts may import beyond that: they are where wire types end. */
  readonly wireMay?: readonly string[];
  /**
   * The rooms within, each with what it may import beyond what the whole room may: its neighbours by name, `.` for the room's
   * own files, or anything that could stand in `may`.
   */
  readonly rooms?: Readonly<Record<string, readonly string[]>>;
}

/** Packages that not every room may import. All others are open to everybody. */
export const packageKinds = {
  wire: "@bufbuild/",
  grpc: "@grpc/",
  transport: "@connectrpc/|fastify$|@fastify/",
  orm: "@mikro-orm/",
  driver: "pg$|pg-|kysely$",
  browser: "react$|react-dom|@mantine/|@tanstack/|echarts|@tabler/",
} as const;

/** Shared by all features: who calls, infrastructure and the errors that callers see. */
const ground = ["call", "infra", "errors.ts", "orm"];

/** What of the infrastructure is shared with programs that are no service. */
const time = ["infra/alarm.ts", "infra/back-off.ts", "infra/clock.ts"];

/** What handlers of any feature see: the contract, and the endpoint table's types. */
const handlers = ["wire", "api/pipeline"];

/** The rooms below src/, from the ground up. */
export const rooms: Readonly<Record<string, Wall>> = {
  "errors.ts": { may: [] },
  "device-names.ts": { may: [] },
  "loopback.ts": { may: [] },
  "mail-address.ts": { may: [] },
  "package-folder.ts": { may: [] },
  "settings.ts": { may: [] },
  "setting-values.ts": { may: ["settings.ts"] },
  "alert-settings.ts": { may: ["settings.ts"] },
  "email-settings.ts": { may: ["loopback.ts", "mail-address.ts", "settings.ts"] },
  "limit-settings.ts": { may: ["settings.ts"] },
  "oidc-settings.ts": { may: ["loopback.ts", "settings.ts"] },
  "outage-settings.ts": { may: ["settings.ts"] },
  "storage-settings.ts": { may: ["settings.ts"] },
  "tls-settings.ts": { may: ["settings.ts"] },
  "reporting-settings.ts": { may: ["settings.ts"] },
  "tuf-settings.ts": { may: ["settings.ts"] },
  "config.ts": {
    may: [
      "alert-settings.ts",
      "email-settings.ts",
      "limit-settings.ts",
      "loopback.ts",
      "oidc-settings.ts",
      "outage-settings.ts",
      "reporting-settings.ts",
      "setting-values.ts",
      "settings.ts",
      "storage-settings.ts",
      "tls-settings.ts",
      "tuf-settings.ts",
    ],
  },
  schedule: { may: [] },
  version: { may: [] },
  manifest: { may: ["errors.ts", "device-names.ts"] },
  tuf: { may: ["errors.ts", "manifest"] },
  policy: { may: [], wireMay: ["wire"] },
  infra: {
    may: ["errors.ts", "orm", "driver"],
    rooms: {
      background: ["."],
      database: [".", "background"],
      "database/migrations": [],
      objects: ["."],
      postgres: ["."],
      "error-tracking": [".", "database", "package-folder.ts"],
      tracing: ["."],
      smtp: [".", "mail-address.ts"],
    },
  },
  call: { may: ["errors.ts", "wire"] },
  filter: { may: ["call", "infra", "errors.ts", "version"] },
  api: {
    may: ["call", "infra", "errors.ts", "wire", "grpc", "transport"],
    rooms: {
      pipeline: [],
      tls: [],
      grpc: ["pipeline", "tls"],
      http: ["pipeline", "tls"],
      connect: ["pipeline", "http", "tls"],
      rest: ["pipeline", "http"],
      download: ["pipeline", "http"],
      console: ["pipeline", "http"],
      openapi: ["http", "package-folder.ts"],
    },
  },
  access: {
    may: [...ground, "device-names.ts", "filter", "manifest"],
    wireMay: handlers,
    rooms: { oidc: ["."] },
  },
  device: {
    may: [...ground, "access", "device-names.ts", "filter", "version"],
    wireMay: handlers,
    rooms: {
      state: [],
      filter: ["state"],
      fleet: ["state"],
      keys: ["state", "manifest"],
      registry: ["state", "filter", "fleet", "keys"],
    },
  },
  firmware: {
    may: [...ground, "access", "filter", "manifest", "version"],
    wireMay: [...handlers, "api/http"],
    rooms: { repository: [".", "tuf"] },
  },
  rollout: {
    may: [...ground, "access", "device", "filter", "firmware", "policy", "schedule", "version"],
    wireMay: [...handlers, "api/download"],
    rooms: {
      model: [],
      wire: ["model"],
      rules: ["model"],
      proof: ["model"],
      offer: ["model", "wire", "rules", "proof"],
      decide: ["model", "wire", "rules", "proof"],
      preview: ["model", "wire", "rules", "offer"],
      foresight: ["model", "wire", "rules", "offer", "preview"],
      health: ["model", "rules", "proof", "offer", "decide"],
      recall: ["model", "wire", "rules", "offer", "preview", "decide"],
    },
  },
  heartbeat: { may: [...ground, "driver", "device", "rollout/offer"], wireMay: handlers },
  telemetry: { may: [...ground, "device", "heartbeat", "schedule"], wireMay: [...handlers, "api/download"] },
  crash: {
    may: [...ground, "access", "device", "filter", "version"],
    wireMay: [...handlers, "api/http"],
    rooms: { words: [], stacks: ["words"], symbols: ["stacks"] },
  },
  backup: { may: ["errors.ts", "infra", "driver"] },
  doctor: { may: ["config.ts", "infra"] },
  alert: {
    may: [...ground, "access", "filter"],
    wireMay: handlers,
    rooms: { webhook: [".", "mail-address.ts"] },
  },
  orphans: { may: ["infra"] },
  "entities.ts": {
    may: ["access", "alert", "crash", "device", "firmware", "heartbeat", "infra", "rollout", "telemetry"],
  },
  assembly: {
    may: [
      ...ground,
      "config.ts",
      "entities.ts",
      "wire",
      "api",
      "access",
      "device",
      "firmware",
      "rollout",
      "heartbeat",
      "telemetry",
      "crash",
      "alert",
      "orphans",
    ],
  },
  "server.ts": {
    may: [
      ...ground,
      "config.ts",
      "package-folder.ts",
      "api",
      "assembly",
      "access",
      "firmware",
      "rollout",
      "telemetry",
      "crash",
      "alert",
    ],
  },
  client: { may: ["errors.ts", "loopback.ts", "wire", "grpc"] },
  agent: {
    may: [
      "client",
      "manifest",
      "schedule",
      "tuf",
      "version",
      "errors.ts",
      "loopback.ts",
      ...time,
      "wire",
      "grpc",
    ],
  },
  cli: {
    may: [
      "agent",
      "client",
      "manifest",
      "policy",
      "tuf",
      "errors.ts",
      "loopback.ts",
      "package-folder.ts",
      ...time,
      "wire",
      "grpc",
    ],
    rooms: { demo: [".", "config.ts", "server.ts", "infra"] },
  },
  "cli/serve.ts": { may: ["server.ts", "config.ts", "errors.ts", "infra"] },
  "cli/service-settings.ts": { may: ["config.ts"] },
  "cli/local-database.ts": { may: ["config.ts", "errors.ts", "infra"] },
  "cli/migrate.ts": { may: ["config.ts", "errors.ts", "infra"] },
  "cli/recount.ts": { may: ["infra"] },
  "cli/token-reset.ts": { may: ["access", "infra"] },
  "cli/doctor.ts": { may: ["assembly/object-store.ts", "config.ts", "doctor"] },
  "cli/store.ts": { may: ["assembly/object-store.ts", "infra", "orphans"] },
  "cli/backup.ts": { may: ["assembly/object-store.ts", "backup"] },
  "main.ts": { may: ["cli", "package-folder.ts"] },
  console: {
    may: ["wire", "policy", "device-names.ts", "version", "transport", "browser"],
    rooms: {
      ui: ["data"],
      data: [],
      addresses: [],
      words: ["ui"],
      charts: ["ui"],
      filter: ["ui", "session"],
      attention: ["data", "session", "ui", "words"],
      session: ["data", "ui"],
      access: pages(),
      alerts: pages(),
      audit: pages(),
      crashes: pages(),
      "crashes/group": [...pages(), "crashes"],
      "crashes/list": [...pages(), "crashes"],
      "crashes/rules": [...pages(), "crashes"],
      "crashes/symbols": [...pages(), "crashes"],
      devices: pages(),
      "devices/list": [...pages(), "devices"],
      "devices/measurements": [...pages(), "devices"],
      firmware: pages(),
      map: pages(),
      overview: pages(),
      rollouts: pages(),
      settings: pages(),
      webhooks: pages(),
      app: [
        ...pages(),
        "access",
        "alerts",
        "audit",
        "crashes",
        "devices",
        "firmware",
        "map",
        "overview",
        "rollouts",
        "settings",
        "webhooks",
      ],
    },
  },
};

/** The folders beside src/. Tests reach any room; what several of their folders need stands in test/support. */
export const outside: Readonly<Record<string, Wall>> = {
  test: {
    may: ["/src", "wire", "grpc", "transport", "orm", "driver"],
    rooms: {
      support: [],
      access: ["support"],
      agent: ["support"],
      api: ["support"],
      attacks: ["support", "api", "agent"],
      ci: ["support"],
      conformance: ["support", "api", "doors"],
      cli: ["support"],
      console: ["support"],
      crash: ["support", "heartbeat"],
      "crash/stacks": [],
      database: ["support"],
      device: ["support", "access"],
      deploy: [],
      docs: ["support", "/scripts"],
      doors: ["support", "api"],
      examples: ["support"],
      faults: ["support"],
      firmware: ["support"],
      heartbeat: ["support"],
      infra: ["support"],
      install: ["support"],
      monitoring: ["support", "docs"],
      "install/fresh": ["support", "install"],
      rollout: ["support"],
      "rollout/fleet-of-2000": ["support", "rollout"],
      "rollout/simulation": ["support", "rollout"],
      scripts: ["/scripts"],
      telemetry: ["support", "heartbeat"],
      vectors: [],
    },
  },
  bench: {
    may: [
      "client",
      "config.ts",
      "crash",
      "server.ts",
      "entities.ts",
      "heartbeat",
      "infra",
      "wire",
      "grpc",
      "orm",
      "driver",
    ],
    rooms: { harness: [".", "load"], load: [".", "harness"], floors: ["harness", "load"] },
  },
  scripts: {
    may: [
      "agent",
      "api/pipeline",
      "client",
      "config.ts",
      "server.ts",
      "infra",
      "manifest",
      "rollout/model",
      "wire",
      "orm",
      "driver",
    ],
    rooms: { "client-package": [], openapi: [], "proto-bundle": [], vectors: [] },
  },
};

/** What a page of the console stands on. */
function pages(): readonly string[] {
  return ["ui", "data", "addresses", "words", "charts", "filter", "attention", "session"];
}
