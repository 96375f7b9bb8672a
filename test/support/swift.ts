import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Debian's Python: another one may come first on the PATH and lacks Debian's packages. */
const PYTHON = "/usr/bin/python3";
const SCRIPT = join(import.meta.dirname, "s3-swift.py");
const START_TIMEOUT_MS = 30_000;

/** A running S3 server and how to enter it. */
export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
}

/** True where Debian's package python3-swift is installed. */
export function swiftIsInstalled(): boolean {
  if (!existsSync(PYTHON)) return false;
  try {
    execFileSync(PYTHON, ["-c", "import swift"], { stdio: "ignore", timeout: START_TIMEOUT_MS });
    return true;
  } catch {
    return false;
  }
}

/** Starts OpenStack Swift with its S3 API on a free port, with its data in a temporary folder. */
export async function startSwift(): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-swift-"));
  const [accessKey, secretKey] = ["ota:tests", "a-secret-for-tests"];
  const child = spawn(PYTHON, [SCRIPT, folder, "0", accessKey, secretKey], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stop = async (): Promise<void> => {
    await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const lines = createInterface({ input: child.stdout });
    const [line] = (await once(lines, "line", { signal: AbortSignal.timeout(START_TIMEOUT_MS) })) as [string];
    const endpoint = line.replace(/^ready /, "");
    return { endpoint, accessKey, secretKey, region: "us-east-1", [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}
