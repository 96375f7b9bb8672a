import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { Alarm } from "../infra/alarm.ts";
import { type FirmwareImage, type Installer, InstallFailure, type RunningFirmware } from "./installer.ts";

/** The operator's commands, run by `/bin/sh -c`. */
export interface CommandInstallerOptions {
  /**
   * Installs. Its environment has `OTA_FILE` (the verified content), `OTA_VERSION`, `OTA_SHA256`, `OTA_UPDATE_ID`,
   * `OTA_ACTION` (`install` or `rollback`) and `OTA_COMPONENT` (an application's name; empty for firmware). Variables of our own
   * (`DEVICE_OTA_…`, the enrolment key among them) are not in it. An exit code other than 0 is a failure, with the end of what it wrote to
   * standard error as the message.
   */
  readonly installCommand: string;
  /** Reboots, for example `systemctl reboot`. Its environment has `OTA_VERSION` and `OTA_UPDATE_ID`. */
  readonly rebootCommand: string;
  /** A file of the running system whose whole content is its version, for example `/etc/firmware-version`. */
  readonly versionFile: string;
  /** A JSON file with the version of each application by component, which the install command keeps. */
  readonly componentsFile?: string | undefined;
  /** How long the installation may take, in milliseconds. Default 30 minutes. */
  readonly installTimeoutMs?: number;
  /** How long after the reboot command the machine may still run, in milliseconds. Default 10 minutes. */
  readonly rebootTimeoutMs?: number;
}

/** Installs and boots firmware by commands of the operator's choice: the agent knows no image format. */
export class CommandInstaller implements Installer {
  readonly #options: CommandInstallerOptions;

  constructor(options: CommandInstallerOptions) {
    this.#options = options;
  }

  async running(): Promise<RunningFirmware> {
    return { version: (await readFile(this.#options.versionFile, "utf8")).trim() };
  }

  async components(): Promise<Readonly<Record<string, string>>> {
    const { componentsFile } = this.#options;
    if (componentsFile === undefined) return {};
    const parsed: unknown = JSON.parse(await readFile(componentsFile, "utf8"));
    if (typeof parsed !== "object" || parsed === null)
      throw new InstallFailure(`${componentsFile} holds no object`);
    return Object.fromEntries(Object.entries(parsed).map(([name, version]) => [name, String(version)]));
  }

  async install(image: FirmwareImage, signal: AbortSignal): Promise<void> {
    const { installCommand, installTimeoutMs = 30 * 60_000 } = this.#options;
    const environment = {
      OTA_FILE: image.path,
      OTA_VERSION: image.version,
      OTA_SHA256: image.sha256,
      OTA_UPDATE_ID: image.updateId,
      OTA_ACTION: image.rollback ? "rollback" : "install",
      OTA_COMPONENT: image.component,
    };
    await run(installCommand, environment, AbortSignal.any([signal, AbortSignal.timeout(installTimeoutMs)]));
  }

  async reboot(update: Pick<FirmwareImage, "updateId" | "version">, signal: AbortSignal): Promise<void> {
    const { rebootCommand, rebootTimeoutMs = 10 * 60_000 } = this.#options;
    await run(rebootCommand, { OTA_VERSION: update.version, OTA_UPDATE_ID: update.updateId }, signal);
    await new Alarm().wait(rebootTimeoutMs, signal);
  }
}

async function run(command: string, environment: Record<string, string>, signal: AbortSignal): Promise<void> {
  // `spawn` throws a TypeError of its own for such a value.
  const unfit = Object.keys(environment).find((name) => environment[name]?.includes("\0"));
  if (unfit !== undefined) throw new InstallFailure(`${unfit} has a NUL, which no environment can hold`);
  await new Promise<void>((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", command], {
      env: { ...inherited(), ...environment },
      stdio: ["ignore", "inherit", "pipe"],
      // A group of its own, so that a time-out ends what the shell has started too.
      detached: true,
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("utf8")).slice(-maxMessageLength);
    });
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has just ended by itself.
      }
    };
    signal.addEventListener("abort", end, { once: true });
    child.once("error", (error) => {
      signal.removeEventListener("abort", end);
      reject(new InstallFailure(error.message));
    });
    child.once("close", (code, killedBy) => {
      signal.removeEventListener("abort", end);
      if (code === 0) return resolve();
      const how = signal.aborted ? "took too long" : `ended with ${code ?? killedBy}`;
      reject(new InstallFailure(`the command ${how}: ${said.trim()}`));
    });
  });
}

/** The agent's environment without what is meant for the agent alone, such as its enrolment key. */
function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DEVICE_OTA_")));
}

/** How much of the command's complaint is reported, in characters. */
const maxMessageLength = 1500;
