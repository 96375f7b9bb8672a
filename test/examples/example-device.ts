import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { TestService } from "../support/service.ts";
import { cutOnce, type PoorNetwork } from "./cut-once.ts";

/** A device's program, and where it connects. */
export interface ExampleProgram {
  /** The simple command of a shell that starts it, with the folder of what was built in `BUILT`. */
  readonly command: string;
  /** Says of files, a manifest and a signature each, whether the key in `TRUSTED_KEY` makes them believed: one line each. */
  readonly verify: string;
  readonly door: "http" | "grpc";
}

/** Where examples are. */
export const examples = join(import.meta.dirname, "../../examples");

/** How much of a download comes through before the network breaks. */
const cutAfterBytes = 2_000_000;

/** An example that runs as a device does: whenever its program ends in order, that was a reboot, and it is started again. */
export class ExampleDevice implements AsyncDisposable {
  readonly serialNumber: string;
  /** Everything that it said. */
  output = "";
  readonly #program: ExampleProgram;
  readonly #folder: string;
  readonly #network: PoorNetwork;
  readonly #env: Readonly<Record<string, string>>;
  readonly #opened: AsyncDisposableStack;
  #child: ChildProcess | undefined;
  #isStopped = false;

  /**
   * Starts one that runs version 1.0.0; `env` is what all devices are told alike, `built` the folder of its program. It stops
   * when it is disposed, and with the test at the latest, whatever becomes of that.
   */
  static async start(
    serialNumber: string,
    program: ExampleProgram,
    service: TestService,
    env: Readonly<Record<string, string>>,
    built: string,
  ): Promise<ExampleDevice> {
    const opened = new AsyncDisposableStack();
    onTestFinished(() => opened.disposeAsync());
    const folder = await mkdtemp(join(tmpdir(), "device-ota-example-"));
    opened.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
    await writeFile(join(folder, "version"), "1.0.0\n");
    const target = program.door === "http" ? new URL(service.httpUrl).host : service.grpcAddress;
    const network = opened.use(await cutOnce(target, cutAfterBytes));
    const device = new ExampleDevice(
      serialNumber,
      program,
      folder,
      network,
      { ...env, BUILT: built },
      opened,
    );
    opened.defer(() => device.#stop());
    device.#boot();
    return device;
  }

  private constructor(
    serialNumber: string,
    program: ExampleProgram,
    folder: string,
    network: PoorNetwork,
    env: Readonly<Record<string, string>>,
    opened: AsyncDisposableStack,
  ) {
    this.serialNumber = serialNumber;
    this.#program = program;
    this.#folder = folder;
    this.#network = network;
    this.#opened = opened;
    this.#env = {
      ...env,
      SERVICE: program.door === "http" ? `http://${network.address}` : network.address,
      SERIAL_NUMBER: serialNumber,
      STATE_DIR: folder,
    };
  }

  /** Bytes that the service sent to it. */
  get receivedBytes(): number {
    return this.#network.bytes();
  }

  /** What it booted last. */
  slot(): Promise<Buffer> {
    return readFile(join(this.#folder, "slot"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }

  async #stop(): Promise<void> {
    this.#isStopped = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    kill(child);
    await closed;
  }

  #boot(): void {
    const child = spawn("sh", ["-c", `exec env ${this.#program.command}`], {
      env: { PATH: process.env["PATH"], ...this.#env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    child.on("error", (error) => {
      this.output += `${error}\n`;
    });
    child.on("close", (code, signal) => {
      if (this.#isStopped) return;
      if (code === 0) this.#boot();
      else this.output += `ended with ${code ?? signal}\n`;
    });
  }
}

/** Ends it with what it started: a shell waits for its `sleep`. */
function kill({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
