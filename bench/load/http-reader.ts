import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { DownloadWork } from "./download-reader.ts";

/** One connection of HTTP/1.1 that is kept open, and downloads one content after the other. */
export class HttpReader {
  readonly #socket: Socket;
  readonly #asked: Pick<DownloadWork, "request" | "token" | "sizeBytes">;
  /** Bytes of the body that are still to come; undefined while its head is. */
  #left: number | undefined;
  #head = "";
  #settle: PromiseWithResolvers<number> | undefined;
  #length = 0;

  private constructor(
    host: string,
    port: number,
    asked: Pick<DownloadWork, "request" | "token" | "sizeBytes">,
  ) {
    this.#asked = asked;
    const buffer = Buffer.allocUnsafeSlow(1024 * 1024);
    this.#socket = connect({
      host,
      port,
      onread: {
        buffer,
        callback: (length: number) => {
          this.#take(buffer, length);
          return true;
        },
      },
    });
    this.#socket.on("error", (error) => this.#settle?.reject(error));
    this.#socket.on("close", () => this.#settle?.reject(new Error("the connection was cut")));
  }

  static async open(
    host: string,
    port: number,
    asked: Pick<DownloadWork, "request" | "token" | "sizeBytes">,
  ): Promise<HttpReader> {
    const reader = new HttpReader(host, port, asked);
    await once(reader.#socket, "connect");
    return reader;
  }

  /** Makes the download of that number, and returns how many bytes it had. */
  download(number: number): Promise<number> {
    const { request, token, sizeBytes } = this.#asked;
    const { method = "GET", path = "/", rangeBytes } = request ?? {};
    const lines = [`${method} ${path} HTTP/1.1`, "host: bench", `authorization: Bearer ${token}`];
    if (rangeBytes !== undefined) {
      const offset = (number * rangeBytes) % sizeBytes;
      lines.push(`range: bytes=${offset}-${offset + rangeBytes - 1}`);
    }
    this.#settle = Promise.withResolvers();
    this.#socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    return this.#settle.promise;
  }

  close(): void {
    this.#settle = undefined;
    this.#socket.destroy();
  }

  #take(buffer: Buffer, length: number): void {
    let from = 0;
    if (this.#left === undefined) {
      this.#head += buffer.toString("latin1", 0, length);
      const end = this.#head.indexOf("\r\n\r\n");
      if (end === -1) return;
      if (!/^HTTP\/1\.1 20[06] /.test(this.#head)) {
        this.#settle?.reject(new Error(this.#head));
        return;
      }
      this.#length = Number(/^content-length: (\d+)/im.exec(this.#head)?.[1]);
      this.#left = this.#asked.request?.method === "HEAD" ? 0 : this.#length;
      from = length - (this.#head.length - end - 4);
    }
    this.#left -= length - from;
    if (this.#left > 0) return;
    this.#left = undefined;
    this.#head = "";
    this.#settle?.resolve(this.#asked.request?.method === "HEAD" ? 0 : this.#length);
  }
}
