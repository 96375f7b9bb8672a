import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import type { RawRoute } from "../api/http/raw-route.ts";
import { accessRuleOf } from "../api/pipeline/access-rule.ts";
import { callingDevice } from "../call/identity.ts";
import { requireUuid } from "../call/uuid.ts";
import { maxCrashLogBytes } from "./crash-log-codec.ts";
import { type CrashLogs, tooLarge } from "./crash-logs.ts";
import { crashLogJson } from "./error-messages.ts";

/**
 * `POST /api/v1/crashLogs` with the log as the body, of any media type, for devices without gRPC; `GET
 * /api/v1/crashLogs/{id}` for operators. What devices send is served as plain text and as an attachment, so that no browser
 * runs it.
 */
export function crashLogRoutes(logs: CrashLogs): RawRoute[] {
  return [
    {
      method: "POST",
      url: "/api/v1/crashLogs",
      access: accessRuleOf(ErrorService.method.uploadCrashLog),
      rate: "device",
      place: "crash_logs",
      bodyLimit: maxCrashLogBytes,
      body: "buffer",
      handle: async (request, reply, { identity, signal }) => {
        const body = request.body as Buffer | undefined;
        if (body !== undefined && body.length > maxCrashLogBytes) throw tooLarge();
        const log = await logs.receive(
          callingDevice(identity, "upload crash logs"),
          single(body ?? Buffer.alloc(0)),
          signal,
        );
        void reply.code(201).type("application/json; charset=utf-8");
        return JSON.stringify({ crashLog: crashLogJson(log) });
      },
    },
    {
      method: "GET",
      url: "/api/v1/crashLogs/:id",
      access: accessRuleOf(ErrorService.method.downloadCrashLog),
      rate: "operator",
      handle: async (request, reply, { signal }) => {
        const { id } = request.params as { id: string };
        requireUuid("id", id);
        const content = await logs.read(id, signal);
        void reply.headers({
          "content-type": "text/plain; charset=utf-8",
          "x-content-type-options": "nosniff",
          "content-disposition": `attachment; filename="${id}.log"`,
          "cache-control": "private, no-store",
        });
        return content;
      },
    },
  ];
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
