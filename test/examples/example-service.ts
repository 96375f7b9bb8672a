import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { onTestFinished } from "vitest";
import type { ServiceExample } from "./toolchains.ts";

/** An example of an internal service that goes on until it is killed: when it is disposed, and with the test at the latest. */
export class ExampleService implements AsyncDisposable {
  /** Everything that it said. */
  output = "";
  readonly #child: ChildProcess;

  static start(
    { command }: ServiceExample,
    built: string,
    env: Readonly<Record<string, string>>,
  ): ExampleService {
    const service = new ExampleService(command, { ...env, BUILT: built });
    onTestFinished(() => service[Symbol.asyncDispose]());
    return service;
  }

  private constructor(command: string, env: Readonly<Record<string, string>>) {
    const child = spawn("sh", ["-c", `exec ${command}`], {
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    child.on("error", (error) => {
      this.output += `${error}\n`;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  }
}
