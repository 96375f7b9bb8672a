import type { Transport } from "@connectrpc/connect";
import { useTransport } from "@connectrpc/connect-query";
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, use, useEffect, useState, useSyncExternalStore } from "react";

/** How an upload of this browser tab stands. */
export interface Upload {
  readonly state: "uploading" | "waiting" | "finished" | "failed";
  /** Bytes that the service has. */
  readonly committed: number;
  readonly size: number;
  /** When it began, in `performance.now()` milliseconds, and how much the service had then: for the speed. */
  readonly began: { readonly atMs: number; readonly committed: number };
  readonly error: unknown;
}

/** The uploads of this tab. They go on while the operator moves about in the console. */
export class Uploads {
  readonly #transport: Transport;
  readonly #queries: QueryClient;
  readonly #listeners = new Set<() => void>();
  readonly #controllers = new Map<string, AbortController>();
  #uploads: ReadonlyMap<string, Upload> = new Map();

  constructor(transport: Transport, queries: QueryClient) {
    this.#transport = transport;
    this.#queries = queries;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly all = (): ReadonlyMap<string, Upload> => this.#uploads;

  /** Begins to upload, or goes on where the service has it up to; an upload that is under way stays as it is. */
  start(firmwareId: string, file: File): void {
    if (this.#controllers.has(firmwareId)) return;
    const controller = new AbortController();
    this.#controllers.set(firmwareId, controller);
    void this.#run(firmwareId, file, controller.signal);
  }

  /** Stops an upload; what the service has stays there, to be continued or thrown away by the service after a day. */
  cancel(firmwareId: string): void {
    this.#controllers.get(firmwareId)?.abort(new Error("the upload was cancelled"));
    this.#forget(firmwareId);
  }

  async #run(firmwareId: string, file: File, signal: AbortSignal): Promise<void> {
    const began = { atMs: performance.now(), committed: 0 };
    let upload: Upload = { state: "uploading", committed: 0, size: file.size, began, error: undefined };
    this.#put(firmwareId, upload);
    try {
      const { runUpload } = await import("./run-upload.ts");
      let isFirst = true;
      await runUpload(this.#transport, firmwareId, file, signal, (committed) => {
        if (committed === undefined) upload = { ...upload, state: "waiting" };
        else if (isFirst) {
          isFirst = false;
          upload = { ...upload, committed, began: { atMs: performance.now(), committed } };
        } else upload = { ...upload, state: "uploading", committed };
        this.#put(firmwareId, upload);
      });
      upload = { ...upload, state: "finished", committed: file.size };
      this.#put(firmwareId, upload);
    } catch (error) {
      if (!signal.aborted) this.#put(firmwareId, { ...upload, state: "failed", error });
    } finally {
      this.#controllers.delete(firmwareId);
      await this.#queries.invalidateQueries();
      // The firmware itself tells of it from now on, and content may be damaged later.
      if (upload.state === "finished" && !this.#controllers.has(firmwareId)) this.#forget(firmwareId);
    }
  }

  #put(firmwareId: string, upload: Upload): void {
    this.#uploads = new Map(this.#uploads).set(firmwareId, upload);
    for (const listener of this.#listeners) listener();
  }

  #forget(firmwareId: string): void {
    const uploads = new Map(this.#uploads);
    uploads.delete(firmwareId);
    this.#uploads = uploads;
    for (const listener of this.#listeners) listener();
  }
}

const UploadsContext = createContext<Uploads | undefined>(undefined);

/** Holds the uploads of the tab, and warns before the tab is closed under one. */
export function UploadsProvider({ children }: { readonly children: ReactNode }) {
  const transport = useTransport();
  const queries = useQueryClient();
  const [uploads] = useState(() => new Uploads(transport, queries));
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => {
      const running = [...uploads.all().values()].some(
        ({ state }) => state === "uploading" || state === "waiting",
      );
      if (running) event.preventDefault();
    };
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [uploads]);
  return <UploadsContext value={uploads}>{children}</UploadsContext>;
}

/** The uploads of the tab. */
export function useUploads(): Uploads {
  const uploads = use(UploadsContext);
  if (uploads === undefined) throw new Error("there are no uploads here");
  return uploads;
}

/** How the upload of one firmware stands in this tab; undefined if there is none. */
export function useUpload(firmwareId: string): Upload | undefined {
  const uploads = useUploads();
  return useSyncExternalStore(uploads.subscribe, uploads.all).get(firmwareId);
}
