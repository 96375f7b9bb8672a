import type { Answer, Body, Parameter, Schema } from "./document.ts";

/** Something that the HTTP port serves beside the RPCs. A test holds the list against the routes that there are. */
export interface RawOperation {
  readonly path: string;
  readonly verb: "get" | "post" | "delete";
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** The method that has the same over gRPC, by service and name: who may call is the same. Without one anybody may. */
  readonly method?: string;
  /** Whether the query has the method's fields that the path does not have, named here as in the contract. */
  readonly queryBeside?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Body & { readonly required: true };
  readonly responses: Readonly<Record<string, Answer>>;
}

const uuid = { type: "string", format: "uuid" };
const anyBytes: Body = { content: { "application/octet-stream": { schema: {} } } };
const upload = { ...anyBytes, required: true } as const;

function json(description: string, schema: Schema): Answer {
  return { description, content: { "application/json": { schema } } };
}

function message(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

function inPath(name: string, description: string, schema: Schema): Parameter {
  return { name, in: "path", description, required: true, schema };
}

const fileName: Parameter = {
  name: "fileName",
  in: "query",
  description: "What the file is called.",
  schema: { type: "string", maxLength: 200 },
};

const readiness: Schema = {
  type: "object",
  properties: {
    status: { enum: ["ready", "not ready"] },
    checks: { type: "object", description: "What was looked at, by name.", additionalProperties: true },
  },
  required: ["status", "checks"],
};

/** The probe that asks nothing of database and store. */
function alive(path: string, operationId: string): RawOperation {
  return {
    path,
    verb: "get",
    operationId,
    tag: "Health",
    summary: "Says that the process answers",
    responses: {
      "200": json("It does.", {
        type: "object",
        properties: { status: { const: "alive" } },
        required: ["status"],
      }),
    },
  };
}

function ready(path: string, operationId: string): RawOperation {
  return {
    path,
    verb: "get",
    operationId,
    tag: "Health",
    summary: "Says whether the service does its work",
    responses: {
      "200": json("It does.", readiness),
      "503": json("It does not, or is stopping.", readiness),
    },
  };
}

function page(path: string, operationId: string, summary: string, mediaType: string): RawOperation {
  return {
    path,
    verb: "get",
    operationId,
    tag: "Description",
    summary,
    responses: { "200": { description: "The file.", content: { [mediaType]: { schema: {} } } } },
  };
}

/** What the HTTP port serves beside the RPCs. */
export const rawOperations: readonly RawOperation[] = [
  {
    path: "/api/v1/updates/{updateId}/content",
    verb: "get",
    operationId: "downloadUpdateContent",
    tag: "UpdateService",
    summary: "Downloads the firmware of an update that was offered",
    description:
      "Byte ranges, `ETag` (the SHA-256), `If-Range`, `If-None-Match` and HEAD as in RFC 9110. Where the rollout wants it, it redirects to the object store.",
    method: "UpdateService/DownloadFirmware",
    parameters: [
      inPath("updateId", "The update's id, from the offer.", uuid),
      {
        name: "direct",
        in: "query",
        description: "`false`: no redirect to the object store.",
        schema: { type: "string" },
      },
      {
        name: "Range",
        in: "header",
        description: "Which bytes, to go on after an interruption.",
        schema: { type: "string" },
      },
    ],
    responses: {
      "200": { description: "The firmware.", ...anyBytes },
      "206": { description: "The bytes that were asked for.", ...anyBytes },
      "304": { description: "It is what `If-None-Match` names." },
      "307": { description: "It is at `Location`." },
    },
  },
  {
    path: "/api/v1/heartbeat/{deviceId}/export",
    verb: "get",
    operationId: "exportHeartbeats",
    tag: "TelemetryService",
    summary: "Writes a device's heartbeats as a file, however many there are",
    method: "TelemetryService/ExportHeartbeats",
    queryBeside: ["device_id"],
    parameters: [inPath("deviceId", "The device's id.", uuid)],
    responses: {
      "200": {
        description: "The file.",
        content: {
          "text/csv": { schema: { type: "string" } },
          "application/x-ndjson": { schema: { type: "string" } },
        },
      },
    },
  },
  {
    path: "/api/v1/firmware/{id}/attachments",
    verb: "post",
    operationId: "attachFirmwareFile",
    tag: "FirmwareService",
    summary: "Puts a file (SBOM, SUIT envelope, attestation) beside a firmware",
    method: "FirmwareService/AttachFirmwareFile",
    parameters: [inPath("id", "The firmware's id.", uuid), fileName],
    requestBody: upload,
    responses: {
      "200": json("It was there already.", message("AttachFirmwareFileResponse")),
      "201": json("It is there now.", message("AttachFirmwareFileResponse")),
    },
  },
  {
    path: "/api/v1/firmware/{id}/attachments/{attachmentId}",
    verb: "get",
    operationId: "downloadFirmwareAttachment",
    tag: "FirmwareService",
    summary: "Downloads a file that lies beside a firmware",
    method: "FirmwareService/DownloadFirmwareAttachment",
    parameters: [inPath("id", "The firmware's id.", uuid), inPath("attachmentId", "The file's id.", uuid)],
    responses: { "200": { description: "The file.", ...anyBytes } },
  },
  {
    path: "/api/v1/crashLogs",
    verb: "post",
    operationId: "uploadCrashLog",
    tag: "ErrorService",
    summary: "Takes a device's crash log",
    method: "ErrorService/UploadCrashLog",
    requestBody: upload,
    responses: {
      "201": json("It is stored.", {
        type: "object",
        properties: { crashLog: message("CrashLog") },
        required: ["crashLog"],
      }),
    },
  },
  {
    path: "/api/v1/crashLogs/{id}",
    verb: "get",
    operationId: "downloadCrashLog",
    tag: "ErrorService",
    summary: "Downloads a crash log",
    method: "ErrorService/DownloadCrashLog",
    parameters: [inPath("id", "The crash log's id.", uuid)],
    responses: {
      "200": { description: "The log.", content: { "text/plain": { schema: { type: "string" } } } },
    },
  },
  {
    path: "/api/v1/symbolFiles",
    verb: "post",
    operationId: "uploadSymbolFile",
    tag: "ErrorService",
    summary: "Takes an ELF file whose symbols name the addresses in crashes",
    method: "ErrorService/UploadSymbolFile",
    parameters: [fileName],
    requestBody: upload,
    responses: {
      "201": json("It is stored.", {
        type: "object",
        properties: { symbolFile: message("SymbolFile") },
        required: ["symbolFile"],
      }),
    },
  },
  {
    path: "/tuf/{product}/{file}",
    verb: "get",
    operationId: "downloadTufMetadata",
    tag: "TufService",
    summary: "Downloads TUF metadata, by the names that TUF clients ask for",
    description: "Without a credential too, where the metadata is public.",
    method: "TufService/GetTufMetadata",
    parameters: [
      inPath("product", "The product.", { type: "string" }),
      inPath("file", "For example `timestamp.json` or `3.root.json`.", {
        type: "string",
        examples: ["timestamp.json"],
      }),
    ],
    responses: { "200": json("The metadata.", { type: "object", additionalProperties: true }) },
  },
  ready("/health", "getHealth"),
  ready("/health/", "getHealthRoot"),
  ready("/health/ready", "getReadiness"),
  ready("/health/ready/", "getReadinessRoot"),
  alive("/health/live", "getLiveness"),
  alive("/health/live/", "getLivenessRoot"),
  {
    path: "/metrics",
    verb: "get",
    operationId: "getMetrics",
    tag: "Health",
    summary: "Tells Prometheus what the service measures",
    responses: {
      "200": {
        description: "The metrics, in Prometheus' text format.",
        content: { "text/plain": { schema: { type: "string" } } },
      },
    },
  },
  {
    path: "/session",
    verb: "post",
    operationId: "openSession",
    tag: "Session",
    summary: "Signs a browser in with an operator's token",
    description: "For the console's own pages alone. The session is a cookie.",
    requestBody: {
      required: true,
      content: {
        "application/json": {
          schema: {
            type: "object",
            properties: { token: { type: "string", description: "An operator's token." } },
            required: ["token"],
          },
        },
      },
    },
    responses: {
      "200": json("The browser is signed in.", {
        type: "object",
        properties: { expireTime: { type: "string", format: "date-time" } },
        required: ["expireTime"],
      }),
    },
  },
  {
    path: "/session",
    verb: "delete",
    operationId: "endSession",
    tag: "Session",
    summary: "Signs a browser out",
    description: "For the console's own pages alone.",
    responses: { "200": json("The session has ended.", { type: "object" }) },
  },
  {
    path: "/session/options",
    verb: "get",
    operationId: "getSignInOptions",
    tag: "Session",
    summary: "Says how people can sign in",
    responses: {
      "200": json("How.", {
        type: "object",
        properties: {
          issuer: {
            type: "object",
            description: "The OpenID Connect issuer, if there is one.",
            properties: {
              name: { type: "string" },
              claims: { type: "array", items: { type: "string" } },
            },
            required: ["name", "claims"],
          },
        },
      }),
    },
  },
  {
    path: "/session/oidc",
    verb: "get",
    operationId: "beginIssuerSignIn",
    tag: "Session",
    summary: "Sends a browser to the OpenID Connect issuer, if there is one",
    parameters: [
      {
        name: "return_to",
        in: "query",
        description: "The console's page to come back to.",
        schema: { type: "string" },
      },
    ],
    responses: { "302": { description: "To the issuer." } },
  },
  {
    path: "/session/oidc/callback",
    verb: "get",
    operationId: "finishIssuerSignIn",
    tag: "Session",
    summary: "Takes a browser back from the OpenID Connect issuer",
    responses: { "302": { description: "To the page that it came from, or to the sign-in page." } },
  },
  page("/openapi.json", "getDescription", "Gives this description", "application/json"),
  page("/docs", "getReference", "Shows this description as a page", "text/html"),
  page("/docs/reference.css", "getReferenceStyle", "Gives the look of that page", "text/css"),
];
