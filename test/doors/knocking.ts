import { Agent, type IncomingMessage, request } from "node:http";
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from "node:http2";
import { Metadata, status } from "@grpc/grpc-js";
import { clientErrorFrom } from "../../src/client/client-error.ts";

/**
 * Knocks at the doors of a service with bytes, as no client library would: what comes back is judged, and neither framing nor
 * headers need be right. One connection to gRPC and a few to HTTP carry all calls, because connecting costs more than a call.
 */
export class Knocker implements Disposable {
  readonly #grpcUrl: string;
  readonly #httpUrl: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  #session: ClientHttp2Session | undefined;

  constructor({ grpcAddress, httpUrl }: { readonly grpcAddress: string; readonly httpUrl: string }) {
    this.#grpcUrl = `http://${grpcAddress}`;
    this.#httpUrl = httpUrl;
  }

  /** Sends what is to go as the body of a gRPC call, chunk by chunk. */
  async grpc({ path, headers, chunks, leave }: GrpcKnock): Promise<Answer> {
    const stream = this.#grpcSession().request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let head: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    let end: Answer["end"] = "answered";
    await new Promise<void>((resolve) => {
      const finish = () => {
        clearTimeout(limit);
        clearTimeout(leaving);
        resolve();
      };
      const leaveNow = (how: Answer["end"]) => () => {
        end = how;
        stream.close(constants.NGHTTP2_CANCEL);
        finish();
      };
      const limit = setTimeout(leaveNow("hung"), hangMs);
      const leaving = leave?.afterMs === undefined ? undefined : setTimeout(leaveNow("left"), leave.afterMs);
      stream.on("response", (received) => {
        head = received;
      });
      stream.on("trailers", (received) => {
        trailers = received;
      });
      stream.on("error", finish);
      // Node.js does not close a stream that was refused while it had something to write.
      stream.once("end", finish);
      stream.once("close", finish);
      if (leave?.afterAnswer === true) stream.once("data", leaveNow("left"));
      stream.resume();
      for (const chunk of chunks) stream.write(chunk);
      stream.end();
    });
    if (!stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
    const said = { ...head, ...trailers };
    const code = said["grpc-status"] === undefined ? undefined : Number(said["grpc-status"]);
    if (code === undefined && end === "answered" && head[":status"] === undefined) end = "broken";
    return {
      end,
      httpStatus: head[":status"] === undefined ? undefined : Number(head[":status"]),
      code,
      said: decodeURIComponent(String(said["grpc-message"] ?? "")),
      ...detailsOf(code, said["grpc-status-details-bin"]),
    };
  }

  /** Sends a request over HTTP/1.1. A kept connection may end just when it is used again; a new one may not. */
  async http(knock: HttpKnock): Promise<Answer> {
    const { answer, reused } = await this.#http(knock, this.#agent);
    return answer.end === "broken" && reused ? (await this.#http(knock, false)).answer : answer;
  }

  async #http({ method, path, headers, body, leave }: HttpKnock, agent: Agent | false) {
    // By itself Node.js says no length with methods that rarely have a body.
    const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const call = request(new URL(path, this.#httpUrl), { agent, method, headers: { ...length, ...headers } });
    let end: Answer["end"] = "answered";
    const chunks: Buffer[] = [];
    const response = await new Promise<IncomingMessage | undefined>((resolve) => {
      let head: IncomingMessage | undefined;
      const leaveNow = (how: Answer["end"]) => () => {
        end = how;
        call.destroy();
        finish();
      };
      const limit = setTimeout(leaveNow("hung"), hangMs);
      const leaving = leave?.afterMs === undefined ? undefined : setTimeout(leaveNow("left"), leave.afterMs);
      const finish = () => {
        clearTimeout(limit);
        clearTimeout(leaving);
        if (end === "answered" && head?.complete !== true) end = "broken";
        resolve(head);
      };
      call.on("error", finish);
      call.once("close", finish);
      call.once("response", (received) => {
        head = received;
        received.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          if (leave?.afterAnswer === true) leaveNow("left")();
        });
        received.on("error", finish);
        received.once("close", finish);
      });
      call.end(body);
    });
    const said = Buffer.concat(chunks);
    const retryAfter = response?.headers["retry-after"];
    const answer: Answer = {
      ...noDetails,
      end,
      httpStatus: response?.statusCode,
      code: response === undefined ? undefined : codeInHttp(response, said),
      said: said.toString("latin1"),
      retryAfterMs: retryAfter === undefined ? undefined : Number(retryAfter) * 1_000,
    };
    return { answer, reused: call.reusedSocket };
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#session?.destroy();
    this.#agent.destroy();
  }

  #grpcSession(): ClientHttp2Session {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      this.#session = connect(this.#grpcUrl);
      this.#session.on("error", () => {});
    }
    return this.#session;
  }
}

/** A gRPC call as bytes. */
export interface GrpcKnock {
  readonly path: string;
  /** Beside what every call has, or instead of it. */
  readonly headers: Readonly<Record<string, string>>;
  readonly chunks: readonly Uint8Array[];
  readonly leave?: Leave | undefined;
}

/** An HTTP request. */
export interface HttpKnock {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
  readonly leave?: Leave | undefined;
}

/** When the caller takes the call back. */
export interface Leave {
  readonly afterMs?: number;
  /** As soon as there is any of an answer. */
  readonly afterAnswer?: boolean;
}

/** What came back. */
export interface Answer {
  /** `broken`: the connection or stream ended without an answer; `hung`: it did not even end. */
  readonly end: "answered" | "left" | "broken" | "hung";
  readonly httpStatus: number | undefined;
  /** As gRPC numbers them; undefined where the protocol says it in the HTTP status alone. */
  readonly code: status | undefined;
  /** The message of gRPC; the body of HTTP. */
  readonly said: string;
  readonly reason: string;
  readonly fields: readonly string[];
  readonly retryAfterMs: number | undefined;
}

/** What is wrong with an answer whoever asked for whatever; undefined if nothing is. No part of the service is away. */
export function faultOf({ end, httpStatus, code, said, reason }: Answer): string | undefined {
  const words = () => `${code === undefined ? "" : status[code]} ${reason} ${said.slice(0, 300)}`;
  if (end === "hung" || end === "broken") return `${end}: ${words()}`;
  // Whoever runs the tests may not have built the console.
  if (httpStatus === 503 && said.includes("The console is not built")) return undefined;
  if (httpStatus !== undefined && httpStatus >= 500 && !meantStatuses.has(httpStatus))
    return `${httpStatus} ${words()}`;
  return code !== undefined && faults.has(code) ? words() : undefined;
}

/** UNIMPLEMENTED, DEADLINE_EXCEEDED where the caller set a deadline, and streams both ways over HTTP/1.1. */
const meantStatuses: ReadonlySet<number> = new Set([501, 504, 505]);

const faults: ReadonlySet<status> = new Set([
  status.UNKNOWN,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

/** A message in gRPC's framing, which Connect's streams share. */
export function framed(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** Longer than any call may take that its caller leaves open. */
const hangMs = 60_000;

const noDetails = { reason: "", fields: [], retryAfterMs: undefined };

function detailsOf(code: status | undefined, packed: string | string[] | undefined) {
  if (code === undefined || packed === undefined) return noDetails;
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(String(packed), "base64"));
  const error = clientErrorFrom(Object.assign(new Error(), { code, details: "", metadata }));
  const { reason, fields, retryAfterMs } = error;
  return { reason, fields: fields.map(({ field }) => field), retryAfterMs };
}

/** The outcome of what says it behind a 200: streams of Connect in their last message, gRPC-Web in its trailers. */
function codeInHttp({ headers }: IncomingMessage, body: Buffer): status | undefined {
  const type = headers["content-type"] ?? "";
  if (type.startsWith("application/grpc-web")) {
    const inHead = headers["grpc-status"];
    if (inHead !== undefined) return Number(inHead);
    const bytes = type.startsWith("application/grpc-web-text")
      ? Buffer.from(body.toString("latin1"), "base64")
      : body;
    const found = /grpc-status:\s*(?<code>\d+)/i.exec(lastFrame(bytes, 0x80) ?? "");
    return found === null ? undefined : Number(found.groups?.["code"]);
  }
  if (!type.startsWith("application/connect+")) return undefined;
  const last = lastFrame(body, 0x02);
  if (last === undefined) return undefined;
  const { error } = JSON.parse(last) as { error?: { code: string } };
  const name = (error?.code ?? "ok").toUpperCase().replace("CANCELED", "CANCELLED") as keyof typeof status;
  return status[name];
}

function lastFrame(bytes: Buffer, flag: number): string | undefined {
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) {
    if ((bytes.readUInt8(at) & flag) !== 0)
      return bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1)).toString();
  }
  return undefined;
}
