import { AgentFailure } from "./agent-failure.ts";

/** Verified firmware, ready to be installed. */
export interface FirmwareImage {
  readonly updateId: string;
  /** The file with the content; it is removed after the installation. */
  readonly path: string;
  readonly version: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Whether the device goes back to an earlier version. */
  readonly rollback: boolean;
  /** The application that it is; empty for the device's firmware. */
  readonly component: string;
}

/** What runs on the device. */
export interface RunningFirmware {
  /** A semantic version, read from the system that runs and not from what was last installed. */
  readonly version: string;
  /** SHA-256 of the image that runs, if the device can tell. */
  readonly imageSha256?: Uint8Array;
}

/** The part of the device that writes firmware and boots it. */
export interface Installer {
  /** What runs now. */
  running(): Promise<RunningFirmware>;
  /**
   * The versions of the applications that are installed, by component. Absent for a device without any. Asked at boot and
   * after an application was installed.
   */
  components?(): Promise<Readonly<Record<string, string>>>;
  /** Writes the image where the next boot finds it, or installs and starts the application. Throws {@link InstallFailure} if that cannot be done. */
  install(image: FirmwareImage, signal: AbortSignal): Promise<void>;
  /**
   * Boots the image that was installed last. The signal aborts as the agent is shut down by the reboot; to return before
   * that says that the reboot failed.
   */
  reboot(update: Pick<FirmwareImage, "updateId" | "version">, signal: AbortSignal): Promise<void>;
}

/** The installer could not install or boot an image. */
export class InstallFailure extends AgentFailure {
  constructor(message: string, reason = "INSTALL_FAILED") {
    super(reason, message);
  }
}
