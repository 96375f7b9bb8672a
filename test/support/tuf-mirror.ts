import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Updater } from "tuf-js";
import { vi } from "vitest";
import type { TestService } from "./service.ts";

/** Whoever stands between the service and its TUF clients: hands on what the service says, or says something else. */
export class TufMirror implements AsyncDisposable {
  /** What is said instead, by the file's name: bytes, or bytes without end. */
  readonly lies = new Map<string, Uint8Array | "endless">();
  readonly #service: Pick<TestService, "httpUrl" | "adminToken">;
  readonly #server: Server;
  readonly #folders: string[] = [];

  private constructor(service: Pick<TestService, "httpUrl" | "adminToken">) {
    this.#service = service;
    this.#server = createServer((request, response) => void this.#answer(request.url ?? "", response));
  }

  static async start(service: Pick<TestService, "httpUrl" | "adminToken">): Promise<TufMirror> {
    const mirror = new TufMirror(service);
    mirror.#server.listen(0, "127.0.0.1");
    await once(mirror.#server, "listening");
    return mirror;
  }

  /** A stock client, on a device that was made with this root. */
  async client(product: string, root: Uint8Array): Promise<StockClient> {
    const folder = await mkdtemp(join(tmpdir(), "tuf-client-"));
    this.#folders.push(folder);
    await writeFile(join(folder, "root.json"), root);
    const { port } = this.#server.address() as AddressInfo;
    return new StockClient(folder, `http://127.0.0.1:${port}/tuf/${product}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    for (const folder of this.#folders) await rm(folder, { recursive: true });
  }

  async #answer(path: string, response: ServerResponse): Promise<void> {
    const lie = this.lies.get(path.split("/").at(-1) ?? "");
    if (lie === "endless") {
      const more = () => {
        while (response.write(Buffer.alloc(16_384, 32)));
      };
      response.on("drain", more);
      more();
      return;
    }
    if (lie !== undefined) {
      response.end(lie);
      return;
    }
    const headers = { authorization: `Bearer ${this.#service.adminToken}` };
    const answer = await fetch(this.#service.httpUrl + path, { headers });
    response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
  }
}

/** The client of `tuf-js` as it comes. Its folder is what a device remembers. */
export class StockClient {
  readonly folder: string;
  readonly #url: string;

  constructor(folder: string, url: string) {
    this.folder = folder;
    this.#url = url;
  }

  /** Reads all metadata anew and looks a version up. `now`: what the device's clock says. */
  async find(version: string, now = new Date()) {
    vi.useFakeTimers({ toFake: ["Date"], now });
    // It looks at the clock once, here.
    const updater = new Updater({ metadataDir: this.folder, metadataBaseUrl: this.#url });
    vi.useRealTimers();
    await updater.refresh();
    return await updater.getTargetInfo(version);
  }
}
