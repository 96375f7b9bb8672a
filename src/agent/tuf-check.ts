import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { BaseFetcher, type TargetFile, Updater } from "tuf-js";
import { DownloadHTTPError } from "tuf-js/dist/error.js";
import { Severity } from "../../gen/ota/v1/heartbeat_pb.js";
import { TufService } from "../../gen/ota/v1/tuf_service_pb.js";
import { ClientError } from "../client/client-error.ts";
import type { RpcClient } from "../client/rpc-client.ts";
import { Alarm } from "../infra/alarm.ts";
import { type RootMetadata, readRoot } from "../tuf/tuf-metadata.ts";
import { AgentFailure } from "./agent-failure.ts";
import type { VerifiedOffer } from "./offer-check.ts";
import type { ErrorNote } from "./sensors.ts";
import { callTimeoutMs } from "./update-reports.ts";

/** Which TUF metadata a device follows. */
export interface TufTrust {
  /** Root metadata by product, as it was put on the device. A newer one that follows from it is remembered. */
  readonly roots: ReadonlyMap<string, Uint8Array>;
  /** Where metadata is remembered. */
  readonly folder: string;
}

/** What {@link TufCheck} works with. */
export interface TufCheckParts extends TufTrust {
  readonly client: RpcClient;
  readonly logger: Logger;
  /** Tells the service of an error, with the next heartbeat. */
  readonly report: (error: ErrorNote) => void;
  /** Random numbers in [0, 1), for jitter. */
  readonly random: () => number;
}

/**
 * Follows the TUF metadata of products (TUF specification 1.0, section 5): firmware is installed only if the newest targets metadata
 * names it, and metadata that has expired is an error which the next heartbeat tells. It has expired by the device's own clock.
 */
export class TufCheck {
  readonly #parts: TufCheckParts;
  /** One reading at a time: all write to the same files. */
  #turn: Promise<unknown> = Promise.resolve();
  /** What was told of each product last, and is not to be told again before it changes. */
  readonly #told = new Map<string, string>();

  constructor(parts: TufCheckParts) {
    this.#parts = parts;
  }

  /** Looks at every product at once and then each hour, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const product of this.#parts.roots.keys()) {
        try {
          await this.#find(product, "", signal);
          this.#told.delete(product);
        } catch (error) {
          if (signal.aborted) return;
          if (error instanceof AgentFailure) this.#tell(product, error);
          else this.#parts.logger.debug({ err: error, product }, "TUF metadata could not be read");
        }
      }
      await new Alarm().wait(everyMs * (0.9 + 0.2 * this.#parts.random()), signal);
    }
  }

  /**
   * Checks that the newest targets metadata names the firmware with the very manifest that was offered. Throws {@link AgentFailure}
   * `TUF_NOT_NAMED` or `TUF_MISMATCH`, `TUF_EXPIRED` if what is newest has expired, `TUF_REFUSED` if it is not what the signers made, and the service's error if it cannot
   * be reached.
   */
  async requireNamed(
    { component, product, sha256, sizeBytes, version }: VerifiedOffer,
    manifest: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    if (product === undefined || !this.#parts.roots.has(product))
      throw new AgentFailure(
        "TUF_NOT_NAMED",
        `this device has no TUF root for ${product ?? "unsigned firmware"}`,
      );
    const target = await this.#find(product, version, signal);
    if (target === undefined)
      throw new AgentFailure("TUF_NOT_NAMED", `the TUF targets of ${product} do not name ${version}`);
    const { custom } = target;
    const same =
      target.length === sizeBytes &&
      target.hashes["sha256"] === sha256 &&
      custom["product"] === product &&
      custom["component"] === component &&
      custom["manifest_sha256"] === createHash("sha256").update(manifest).digest("hex");
    if (!same) throw new AgentFailure("TUF_MISMATCH", `the TUF targets name another ${version}`);
  }

  #find(product: string, version: string, signal: AbortSignal): Promise<TargetFile | undefined> {
    const found = this.#turn.then(() => this.#read(product, version, signal));
    this.#turn = found.catch(() => undefined);
    return found;
  }

  async #read(product: string, version: string, signal: AbortSignal): Promise<TargetFile | undefined> {
    const metadataDir = join(this.#parts.folder, product);
    await mkdir(metadataDir, { recursive: true, mode: 0o700 });
    await keepRoot(join(metadataDir, "root.json"), this.#parts.roots.get(product) ?? new Uint8Array());
    const fetcher = new RpcFetcher(this.#parts.client, product, signal);
    try {
      const updater = new Updater({ metadataDir, metadataBaseUrl: baseUrl, fetcher });
      await updater.refresh();
      return await updater.getTargetInfo(version);
    } catch (error) {
      // That the service cannot be reached says nothing of the metadata.
      if (fetcher.failure !== undefined) throw fetcher.failure;
      const message = error instanceof Error ? error.message : String(error);
      throw new AgentFailure(
        message.includes("is expired") ? "TUF_EXPIRED" : "TUF_REFUSED",
        `the TUF metadata of ${product} is not taken: ${message}`,
        error,
      );
    }
  }

  #tell(product: string, { message, reason }: AgentFailure): void {
    if (this.#told.get(product) === reason) return;
    this.#told.set(product, reason);
    this.#parts.logger.error({ product, reason }, message);
    this.#parts.report({
      code: reason,
      severity: Severity.ERROR,
      message: message.slice(0, maxMessageLength),
    });
  }
}

/** The root that is remembered, or the one that the device was made with if that is newer, or the other cannot be read. */
async function keepRoot(file: string, given: Uint8Array): Promise<void> {
  let kept: RootMetadata | undefined;
  try {
    kept = readRoot(await readFile(file));
  } catch {
    // Not there, or half written when the power went.
  }
  if (kept === undefined || kept.version < readRoot(given).version)
    await writeFile(file, given, { mode: 0o600 });
}

/** Metadata by the contract, over the connection that the device has anyway. */
class RpcFetcher extends BaseFetcher {
  /** Why a file did not come, if it was not that there is none. */
  failure: Error | undefined;
  readonly #client: RpcClient;
  readonly #product: string;
  readonly #signal: AbortSignal;

  constructor(client: RpcClient, product: string, signal: AbortSignal) {
    super();
    this.#client = client;
    this.#product = product;
    this.#signal = signal;
  }

  override async fetch(url: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const file = url.slice(baseUrl.length + 1);
    try {
      const request = { product: this.#product, file };
      const options = { signal: this.#signal, timeoutMs: callTimeoutMs };
      const { metadata } = await this.#client.unary(TufService.method.getTufMetadata, request, options);
      return new Blob([metadata]).stream();
    } catch (error) {
      if (error instanceof ClientError && error.code === status.NOT_FOUND)
        throw new DownloadHTTPError(`there is no ${file}`, 404);
      this.failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }
}

/** Names no host: the fetcher knows the service. */
const baseUrl = "tuf://service";

/** How often metadata is looked at without an offer, in milliseconds. */
const everyMs = 3_600_000;

/** Limit of `ErrorReport.message`. */
const maxMessageLength = 2_000;
