import { request } from "node:http";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { text } from "node:stream/consumers";
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { framed } from "./knocking.ts";

/** Requests as they stand on the wire, one of each protocol, and what any of the answers says. */

/** What an answer says, whichever protocol it speaks. */
export interface WireAnswer {
  /** Of HTTP. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Of google.rpc.Code; 0 where the call succeeded, undefined where nothing says. */
  readonly code: number | undefined;
  /** Of ErrorInfo. */
  readonly reason: string | undefined;
  /** Of BadRequest. */
  readonly fields: readonly string[];
  readonly message: string;
  readonly body: Buffer;
}

/** An HTTP/1.1 request. */
export interface WireRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** Sends an HTTP/1.1 request on a connection of its own. */
export async function sendHttp(base: string, { method = "GET", path, headers = {}, body }: WireRequest) {
  return await new Promise<WireAnswer>((resolve, reject) => {
    const { hostname, port } = new URL(base);
    // Not as a URL, which would mend what is wrong with the path.
    const call = request(
      { hostname, port, method, path, agent: false, headers: { ...headers } },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () =>
          resolve(httpAnswer(answer.statusCode ?? 0, answer.headers, Buffer.concat(chunks))),
        );
      },
    );
    call.on("error", reject);
    call.end(body);
  });
}

/** Writes bytes to the HTTP port as they are, and reads until the service ends the connection. */
export async function sendText(base: string, written: string): Promise<WireAnswer> {
  const { hostname, port } = new URL(base);
  const socket = connectSocket(Number(port), hostname);
  socket.write(written);
  const received = await text(socket);
  const [head = "", ...rest] = received.split("\r\n\r\n");
  const [line = "", ...fields] = head.split("\r\n");
  const headers = fields.map((field) => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const;
  });
  return httpAnswer(
    Number(line.split(" ")[1]),
    Object.fromEntries(headers),
    Buffer.from(rest.join("\r\n\r\n")),
  );
}

/** A gRPC call as HTTP/2 carries it. */
export interface GrpcRequest {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What is sent as the body, frames and all. */
  readonly body?: Uint8Array;
}

/** One HTTP/2 connection to the gRPC port. */
export class GrpcWire implements Disposable {
  readonly session: ClientHttp2Session;

  constructor(address: string) {
    this.session = connect(`http://${address}`);
    this.session.on("error", () => {});
  }

  /** Makes a call; what headers it usually has can be replaced, or left out by an empty text. */
  async send({ path, headers = {}, body = framed(new Uint8Array()) }: GrpcRequest): Promise<WireAnswer> {
    const all = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
    const wanted = Object.entries({ ...all, ...headers }).filter(([, value]) => value !== "");
    const stream = this.session.request(Object.fromEntries(wanted));
    return await new Promise<WireAnswer>((resolve) => {
      let said: IncomingHttpHeaders = {};
      const chunks: Buffer[] = [];
      stream.on("response", (received) => {
        said = received;
      });
      stream.on("trailers", (received) => {
        said = { ...said, ...received };
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", () => {});
      stream.once("close", () => resolve(grpcAnswer(said, Buffer.concat(chunks))));
      stream.end(body);
    });
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

function grpcAnswer(headers: IncomingHttpHeaders, body: Buffer): WireAnswer {
  const packed = headers["grpc-status-details-bin"];
  const status =
    packed === undefined ? undefined : fromBinary(StatusSchema, Buffer.from(String(packed), "base64"));
  const code = headers["grpc-status"];
  return {
    status: Number(headers[":status"]),
    headers: flat(headers),
    code: code === undefined ? undefined : Number(code),
    message: decodeURIComponent(String(headers["grpc-message"] ?? "")),
    body,
    ...detailsOf(status),
  };
}

function httpAnswer(status: number, received: IncomingHttpHeaders, body: Buffer): WireAnswer {
  const headers = flat(received);
  const type = headers["content-type"] ?? "";
  if (type.startsWith("application/grpc-web")) {
    return { ...grpcAnswer({ ...received, ...trailersIn(body), ":status": String(status) }, body), headers };
  }
  const said = jsonIn(type, body);
  const error = (said?.error ?? said) as ErrorJson | undefined;
  const details = (error?.details ?? []).map((detail) => ({
    type: detail.type ?? detail["@type"] ?? "",
    ...(detail.debug ?? detail),
  }));
  const violations = details.flatMap(({ fieldViolations = [] }) => fieldViolations);
  return {
    status,
    headers,
    code: status < 400 && error?.code === undefined ? 0 : codeOf(error?.code),
    reason: details.find(({ type: name }) => name.endsWith("google.rpc.ErrorInfo"))?.reason,
    fields: violations.map(({ field }) => field),
    message: error?.message ?? "",
    body,
  };
}

interface DetailJson {
  readonly reason?: string;
  readonly fieldViolations?: readonly { readonly field: string }[];
}

/** An error in JSON, of Connect or as google.rpc.Status. */
interface ErrorJson {
  readonly code?: number | string;
  readonly message?: string;
  readonly details?: readonly (DetailJson & {
    readonly type?: string;
    readonly "@type"?: string;
    readonly debug?: DetailJson;
  })[];
}

/** The JSON of an answer, or of the last message of a Connect stream. */
function jsonIn(type: string, body: Buffer): (ErrorJson & { readonly error?: ErrorJson }) | undefined {
  if (type.startsWith("application/connect+")) {
    const last = framesIn(body).at(-1);
    return last === undefined ? undefined : JSON.parse(last.data.toString());
  }
  return type.startsWith("application/json") && body.length > 0 ? JSON.parse(body.toString()) : undefined;
}

function trailersIn(body: Buffer): Record<string, string> {
  const trailers = framesIn(body).find(({ flags }) => flags === 0x80);
  const lines = (trailers?.data.toString() ?? "").split("\r\n").filter((line) => line.includes(":"));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
  );
}

/** The frames of gRPC and of Connect's streams. */
function framesIn(body: Buffer): { readonly flags: number; readonly data: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 5 <= body.length; at += 5 + body.readUInt32BE(at + 1)) {
    frames.push({
      flags: body.readUInt8(at),
      data: body.subarray(at + 5, at + 5 + body.readUInt32BE(at + 1)),
    });
  }
  return frames;
}

function detailsOf(status: Status | undefined): Pick<WireAnswer, "reason" | "fields"> {
  const details = status?.details ?? [];
  const [info] = details.flatMap((detail) => anyUnpack(detail, ErrorInfoSchema) ?? []);
  const bad = details.flatMap((detail) => anyUnpack(detail, BadRequestSchema) ?? []);
  return {
    reason: info?.reason,
    fields: bad.flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field)),
  };
}

/** Connect's names of codes, in the order of their numbers. */
const connectCodes = [
  "ok",
  "canceled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
];

function codeOf(code: number | string | undefined): number | undefined {
  return typeof code === "string" ? connectCodes.indexOf(code) : code;
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
