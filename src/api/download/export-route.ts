import type { FastifyReply, FastifyRequest } from "fastify";
import { TelemetryService } from "../../../gen/ota/v1/telemetry_service_pb.js";
import type { RawRoute } from "../http/raw-route.ts";
import { sendBody } from "../http/send-body.ts";
import { accessRuleOf } from "../pipeline/access-rule.ts";
import type { CallContext } from "../pipeline/endpoint.ts";

/** A text that is sent as it is made. */
interface OpenExport {
  readonly contentType: string;
  readonly fileName: string;
  /** The text in UTF-8. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Opens the export that a path and its query ask for; throws an OtaError for what cannot be. */
export type ExportOpener = (deviceId: string, query: URLSearchParams, signal: AbortSignal) => OpenExport;

/** `GET /api/v1/heartbeat/{deviceId}/export`: a device's heartbeats as a file, however many there are. */
export function exportRoute(open: ExportOpener): RawRoute {
  return {
    method: "GET",
    url: "/api/v1/heartbeat/:deviceId/export",
    access: accessRuleOf(TelemetryService.method.exportHeartbeats),
    rate: "operator",
    place: "operators",
    handle: (request, reply, context) => serve(open, request, reply, context),
  };
}

async function serve(
  open: ExportOpener,
  request: FastifyRequest,
  reply: FastifyReply,
  { signal }: CallContext,
): Promise<void> {
  const { deviceId } = request.params as { deviceId: string };
  const [, query = ""] = request.url.split("?", 2);
  const { contentType, fileName, chunks } = open(deviceId, new URLSearchParams(query), signal);
  const headers = {
    "content-type": contentType,
    "content-disposition": `attachment; filename="${fileName}"`,
    "cache-control": "no-store",
  };
  const iterator = chunks[Symbol.asyncIterator]();
  // What fails at once, as a database that is away, still gets its status.
  const first = await iterator.next();
  const body = async function* () {
    if (first.done !== true) yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  };
  await sendBody(reply, { status: 200, headers }, body(), signal);
}
