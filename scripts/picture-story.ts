import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import pg from "pg";
import { Role } from "../gen/ota/v1/access_pb.js";
import { AccessService } from "../gen/ota/v1/access_service_pb.js";
import { WebhookFormat } from "../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../gen/ota/v1/alert_webhook_service_pb.js";
import { UpdatePin } from "../gen/ota/v1/device_pb.js";
import { DeviceService } from "../gen/ota/v1/device_service_pb.js";
import { ErrorService } from "../gen/ota/v1/error_service_pb.js";
import { FirmwareService } from "../gen/ota/v1/firmware_service_pb.js";
import { RolloutState } from "../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import { FleetSimulator } from "../src/agent/fleet-simulator.ts";
import { RpcClient } from "../src/client/rpc-client.ts";
import type { Logger } from "../src/infra/logger.ts";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../src/manifest/signature.ts";
import type { RunningServer } from "../src/server.ts";

/** What there is to show, by id. */
export interface Story {
  readonly device: string;
  readonly crash: string;
  readonly release: string;
  readonly draft: string;
  readonly running: string;
  readonly rolledBack: string;
  readonly webhook: string;
  /** Lets the fleet go. */
  readonly stop: () => Promise<void>;
}

/**
 * Plays what the console's pictures show: a simulated fleet takes a good update, a bad one that is rolled back, and is in
 * the middle of a third. Only the versions of the days before are written into the database.
 */
export async function playStory(
  server: RunningServer,
  token: string,
  enrolmentKey: string,
  logger: Logger,
): Promise<Story> {
  using rpc = new RpcClient({ address: server.grpcAddress, token });
  const key = generateSigningKey();
  const { key: registered } = await rpc.unary(AccessService.method.registerSigningKey, {
    name: "release team",
    publicKeyPem: key.publicKeyPem,
  });
  const releases = new Releases(rpc, key, registered?.id ?? "");
  const fleet = await FleetSimulator.start({
    address: server.grpcAddress,
    enrolmentKey,
    trustedKeys: [key.publicKeyPem],
    count: fleetSize,
    serialPrefix: "tx",
    components: { "eco-app": "3.2.0" },
    models: [
      { deviceType: "thermostat", hardwareModel: "tx-200" },
      { deviceType: "thermostat", hardwareModel: "tx-300" },
    ],
    crash: { [badVersion]: 0.6 },
    heartbeatIntervalMs: 1_000,
    installMs: 200,
    rebootMs: 200,
    crashAfterMs: 400,
    maxRetryPauseMs: 1_000,
    logger,
  });
  await organise(rpc);
  const receiver = await Receiver.start();
  const webhook = await addWebhooks(rpc, receiver);
  await releases.make("1.0.0");
  const good = await releases.make("1.1.0");
  await releases.deploy(good, "Faster start-up", [100], RolloutState.COMPLETED);
  const bad = await releases.make(badVersion);
  const rolledBack = await releases.deploy(bad, "New radio driver", [15, 100], RolloutState.ROLLED_BACK);
  const next = await releases.make("1.3.0");
  const running = await releases.deploy(next, "Spring release", [10, 35, 100]);
  const draft = await releases.draft("1.4.0-rc.1");
  await rememberVersions(server.databaseUrl);
  const { groups } = await rpc.unary(ErrorService.method.listErrorGroups, { pageSize: 1 });
  const { devices } = await rpc.unary(DeviceService.method.listDevices, {
    filter: `firmware_version = "1.3.0"`,
    pageSize: 1,
  });
  return {
    device: devices[0]?.id ?? "",
    crash: groups[0]?.id ?? "",
    release: good,
    draft,
    running,
    rolledBack,
    webhook,
    stop: async () => {
      await fleet.stop();
      receiver.close();
    },
  };
}

/** A receiver of events; answers as its path says. */
class Receiver {
  readonly #server: Server;

  static async start(): Promise<Receiver> {
    const server = createServer((request, response) => {
      request.resume();
      // The pager takes what is an alert; the ticket system is away.
      response.writeHead(request.url === "/tickets" ? 503 : 204).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Receiver(server);
  }

  private constructor(server: Server) {
    this.#server = server;
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** Three receivers, of which one is away for good and one is paused; answers with the id of the first. */
async function addWebhooks(rpc: RpcClient, receiver: Receiver): Promise<string> {
  const { createWebhook, updateWebhook } = WebhookService.method;
  const make = async (name: string, url: string, format: WebhookFormat, eventTypes: string[]) => {
    const { webhook } = await rpc.unary(createWebhook, { name, url, format, eventTypes });
    return webhook?.id ?? "";
  };
  const { CLOUD_EVENTS, SLACK } = WebhookFormat;
  const pager = await make("On-call pager", receiver.url("/pager"), CLOUD_EVENTS, ["alert.*", "rollout.*"]);
  await make("Tickets", receiver.url("/tickets"), CLOUD_EVENTS, ["alert.firing"]);
  const chat = await make("Team chat", receiver.url("/chat"), SLACK, []);
  await rpc.unary(updateWebhook, { id: chat, disabled: true });
  return pager;
}

const fleetSize = 120;

const badVersion = "1.2.0";

/** Makes firmware and rollouts. */
class Releases {
  readonly #rpc: RpcClient;
  readonly #key: SigningKeyPair;
  readonly #keyId: string;

  constructor(rpc: RpcClient, key: SigningKeyPair, keyId: string) {
    this.#rpc = rpc;
    this.#key = key;
    this.#keyId = keyId;
  }

  /** Creates a firmware without content; answers with its id. */
  async draft(version: string, content: Buffer = randomBytes(400_000)): Promise<string> {
    const { firmware } = await this.#rpc.unary(FirmwareService.method.createFirmware, {
      product: "thermostat-os",
      version,
      deviceTypes: ["thermostat"],
      releaseNotes: "Starts twice as fast. The radio sleeps when nobody talks to it.",
      sha256: createHash("sha256").update(content).digest("hex"),
      sizeBytes: BigInt(content.length),
    });
    return firmware?.id ?? "";
  }

  /** Creates, uploads and signs a firmware; answers with its id. */
  async make(version: string): Promise<string> {
    const content = randomBytes(400_000);
    const id = await this.draft(version, content);
    await this.#rpc.unary(FirmwareService.method.uploadFirmwareChunk, { id, data: content, finish: true });
    const { manifest } = await this.#rpc.unary(FirmwareService.method.getFirmwareManifest, { id });
    const signature = signManifest(this.#key.privateKeyPem, manifest);
    await this.#rpc.unary(FirmwareService.method.signFirmware, {
      id,
      manifest,
      keyId: this.#keyId,
      signature,
    });
    return id;
  }

  /** Starts a rollout and waits until it is over or, without a state to wait for, until its first ring has updated. */
  async deploy(
    firmwareId: string,
    name: string,
    percents: readonly number[],
    until?: RolloutState,
  ): Promise<string> {
    const { rollout } = await this.#rpc.unary(RolloutService.method.createRollout, {
      firmwareId,
      name,
      rings: percents.map((percent, index) => ({
        name: ringNames[index] ?? `ring-${index}`,
        percent: index === percents.length - 1 ? 100 : percent,
        gate: {
          minSample: 3,
          minSuccessPercent: 90,
          soakDuration: { seconds: 2n },
          manual: until === undefined,
        },
      })),
      policy: { verificationDuration: { seconds: 3n }, failureMinSample: 3, crashLimit: 2 },
    });
    const id = rollout?.id ?? "";
    await this.#rpc.unary(RolloutService.method.startRollout, { id });
    for (const deadline = performance.now() + actTimeoutMs; performance.now() < deadline; ) {
      const { rollout: now } = await this.#rpc.unary(RolloutService.method.getRollout, { id });
      const first = now?.rings[0]?.counters;
      if (until === undefined ? (first?.succeeded ?? 0n) >= 5n : now?.state === until) return id;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    throw new Error(`${name} does not come to its end`);
  }
}

const ringNames = ["canary", "early", "production"];

const actTimeoutMs = 120_000;

/** Groups, tags, pins, people and keys. */
async function organise(rpc: RpcClient): Promise<void> {
  const { devices } = await rpc.unary(DeviceService.method.listDevices, { pageSize: fleetSize });
  const ids = devices.map(({ id }) => id);
  const { batchUpdateDevices } = DeviceService.method;
  await rpc.unary(batchUpdateDevices, {
    deviceIds: ids.slice(0, 48),
    addGroups: ["berlin"],
    addTags: ["indoor"],
  });
  await rpc.unary(batchUpdateDevices, { deviceIds: ids.slice(48, 90), addGroups: ["lyon"] });
  await rpc.unary(batchUpdateDevices, { deviceIds: ids.slice(0, 3), updatePin: UpdatePin.CANARY });
  const filter = `groups : "berlin" AND battery_percent < 50`;
  await rpc.unary(DeviceService.method.createSavedFilter, { name: "Berlin, half empty", filter });
  await rpc.unary(AccessService.method.createToken, { name: "ada", role: Role.OPERATOR });
  await rpc.unary(AccessService.method.createToken, { name: "wall display", role: Role.VIEWER });
  await rpc.unary(AccessService.method.createEnrolmentKey, { name: "batch 2026-04", maxUses: 500n });
}

/** As if the fleet had been there for a month. */
async function rememberVersions(databaseUrl: string): Promise<void> {
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  try {
    await database.query("DELETE FROM fleet_version_history");
    await database.query(
      `INSERT INTO fleet_version_history (hour, counted_at, component, version, device_count)
       SELECT h, h, '', v.version, v.devices
         FROM generate_series(date_trunc('hour', now()) - interval '30 days', date_trunc('hour', now()), '1 hour') h,
         LATERAL (SELECT extract(epoch FROM now() - h) / 86400 AS age) a,
         LATERAL (VALUES ('', 0),
           ('0.9.0', greatest(0, least(70, 4 * age - 40))::int),
           ('1.0.0', (120 - greatest(0, age - 6) - greatest(0, least(70, 4 * age - 40)))::int)) v (version, devices)
         WHERE v.version = '' OR v.devices > 0`,
    );
  } finally {
    await database.end();
  }
}
