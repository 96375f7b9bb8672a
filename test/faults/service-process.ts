import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPostmasterPid } from "../../src/infra/postgres/orphan.ts";
import { eventually } from "../support/eventually.ts";
import { type CliRun, startCli } from "../support/run-cli.ts";

/** First starts make a database cluster, which takes a busy machine a while. */
const startDeadlineMs = 60_000;

/** The service as a process of its own, `device-ota serve`, that a test may kill and start again on the same folder. */
export class ServiceProcess implements AsyncDisposable {
  readonly adminToken = "test-admin-token-0123456789";
  readonly enrolmentKey = "test-enrolment-key-0123456789";
  readonly folder: string;
  readonly #databaseUrl: string | undefined;
  #run: CliRun | undefined;
  #grpcAddress = "";
  #httpUrl = "";

  /** On an embedded PostgreSQL of its own, or on another one's database. */
  static async start(databaseUrl?: string): Promise<ServiceProcess> {
    const service = new ServiceProcess(await mkdtemp(join(tmpdir(), "device-ota-process-")), databaseUrl);
    try {
      await service.startAgain();
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(folder: string, databaseUrl: string | undefined) {
    this.folder = folder;
    this.#databaseUrl = databaseUrl;
  }

  get httpUrl(): string {
    return this.#httpUrl;
  }

  get grpcAddress(): string {
    return this.#grpcAddress;
  }

  /** The embedded PostgreSQL's folder: a stopped service's database can be started on it and looked into. */
  get databaseFolder(): string {
    return join(this.folder, "data", "postgres");
  }

  /** Where the content with a digest is once it is complete. */
  objectPath(sha256: string): string {
    return join(this.folder, "data", "storage", "firmware", "sha256", sha256.slice(0, 2), sha256);
  }

  /** The embedded PostgreSQL's process id, if one runs on the folder. */
  postmasterPid(): Promise<number | undefined> {
    return readPostmasterPid(join(this.databaseFolder, "cluster", "postmaster.pid"));
  }

  /** Starts the process, on the folder as it is, and waits until it says where it is. */
  async startAgain(): Promise<void> {
    const run = startCli(["serve"], {
      cwd: this.folder,
      env: {
        DEVICE_OTA_DATA_DIR: join(this.folder, "data"),
        ...(this.#databaseUrl === undefined ? {} : { DEVICE_OTA_DATABASE_URL: this.#databaseUrl }),
        DEVICE_OTA_HTTP_PORT: "0",
        DEVICE_OTA_GRPC_PORT: "0",
        DEVICE_OTA_HOST: "127.0.0.1",
        DEVICE_OTA_ADMIN_TOKEN: this.adminToken,
        DEVICE_OTA_ENROLMENT_KEY: this.enrolmentKey,
        DEVICE_OTA_RATE_LIMIT_ENROL: "off",
        DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
        DEVICE_OTA_LOG_LEVEL: "warn",
      },
    });
    this.#run = run;
    await eventually(() => {
      const { stdout, stderr } = run.output;
      const grpc = /gRPC +(\S+:\d+)/.exec(stderr)?.[1];
      this.#httpUrl = /(http:\/\/\S+:\d+)/.exec(stderr)?.[1] ?? "";
      if (grpc === undefined) throw new Error(`it is not up: ${stderr}\n${stdout}`);
      this.#grpcAddress = grpc;
    }, startDeadlineMs);
  }

  /** Sends the signal; resolves with the exit code, -1 after SIGKILL. */
  async signal(signal: "SIGKILL" | "SIGTERM"): Promise<number> {
    this.#run?.child.kill(signal);
    return (await this.#run?.result)?.exitCode ?? -1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // In order, so that its PostgreSQL goes with it.
    await this.signal("SIGTERM");
    await rm(this.folder, { recursive: true, force: true });
  }
}
