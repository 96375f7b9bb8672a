import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exitCodes } from "../../src/cli/failure.ts";
import { retry } from "../../src/infra/back-off.ts";
import { readPostmasterPid } from "../../src/infra/postgres/orphan.ts";
import { eventually } from "../support/eventually.ts";
import { type CliResult, type CliRun, type Program, startCli } from "../support/run-cli.ts";

/** Only against a hang: with ten busy programs beside it a machine of two cores takes half a minute and more for a start. */
const startDeadlineMs = 300_000;

/** The service as a process of its own, `device-ota serve`, that a test may kill and start again on the same folder. */
export class ServiceProcess implements AsyncDisposable {
  readonly adminToken = "test-admin-token-0123456789";
  readonly enrolmentKey = "test-enrolment-key-0123456789";
  readonly folder: string;
  readonly #databaseUrl: string | undefined;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #program: Program | undefined;
  #run: CliRun | undefined;
  #grpcAddress = "";
  #httpUrl = "";

  /**
   * On an embedded PostgreSQL of its own, or on another one's database; with settings beside those that tests need; this tree's
   * program unless another one is given.
   */
  static async start(
    databaseUrl?: string,
    settings: Readonly<Record<string, string>> = {},
    program?: Program,
  ): Promise<ServiceProcess> {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-process-"));
    const service = new ServiceProcess(folder, databaseUrl, settings, program);
    try {
      await service.startAgain();
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(
    folder: string,
    databaseUrl: string | undefined,
    settings: Readonly<Record<string, string>>,
    program: Program | undefined,
  ) {
    this.folder = folder;
    this.#databaseUrl = databaseUrl;
    this.#settings = settings;
    this.#program = program;
  }

  get httpUrl(): string {
    return this.#httpUrl;
  }

  get grpcAddress(): string {
    return this.#grpcAddress;
  }

  /** Its id, which a program that replaces itself by the service hands on. */
  get pid(): number {
    const pid = this.#run?.child.pid;
    if (pid === undefined) throw new Error("it was not started");
    return pid;
  }

  /** What it has logged since its last start. */
  get log(): string {
    return this.#run?.output.stdout ?? "";
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

  /**
   * Starts the process, on the folder as it is, and waits until it says where it is. As a supervisor does it starts one again
   * that found no database: on a busy machine the database may answer too late.
   */
  async startAgain(): Promise<void> {
    await retry(() => this.#startOnce(), {
      baseMs: 500,
      capMs: 500,
      attempts: 20,
      isWorthRetrying: (error) => error instanceof EndedEarly && error.exitCode === exitCodes.unavailable,
      signal: undefined,
    });
  }

  async #startOnce(): Promise<void> {
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
        DEVICE_OTA_RATE_LIMIT_PROBE: "off",
        DEVICE_OTA_LOG_LEVEL: "warn",
        ...this.#settings,
      },
      ...(this.#program && { program: this.#program }),
    });
    this.#run = run;
    let isOver = false;
    const ended = run.result.then((result) => {
      // Nobody looks for its addresses any more, which would take those of the next start away.
      isOver = true;
      throw new EndedEarly(result);
    });
    const up = eventually(() => {
      if (isOver) return;
      const { stdout, stderr } = run.output;
      const grpc = /gRPC +(\S+:\d+)/.exec(stderr)?.[1];
      this.#httpUrl = /(http:\/\/\S+:\d+)/.exec(stderr)?.[1] ?? "";
      if (grpc === undefined) throw new Error(`it is not up: ${stderr}\n${stdout}`);
      this.#grpcAddress = grpc;
    }, startDeadlineMs);
    await Promise.race([up, ended]);
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

/** The process ended before it was up. */
class EndedEarly extends Error {
  readonly exitCode: number;

  constructor({ exitCode, stdout, stderr }: CliResult) {
    super(`it ended with ${exitCode}: ${stderr}\n${stdout}`);
    this.exitCode = exitCode;
  }
}
