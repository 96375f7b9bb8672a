import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { Endpoint } from "../../src/api/pipeline/endpoint.ts";
import { methodName } from "../../src/api/pipeline/pipeline.ts";
import { roleIncludes, roles } from "../../src/call/identity.ts";
import { errorInfoOf } from "./doors.ts";

/** Who knocks: nobody, a device, or an operator of some role. */
const callers = ["nobody", "device", ...roles] as const;

export type Caller = (typeof callers)[number];

/** One cell of the matrix: what the endpoint table says of a caller, and what the door did. */
export interface AccessOutcome {
  readonly method: string;
  readonly caller: Caller;
  readonly expected: "admitted" | "unauthenticated" | "permission_denied";
  readonly actual: "admitted" | "unauthenticated" | "permission_denied";
}

/**
 * Knocks at every RPC of the table as every caller, with an empty request, through the gRPC door. A call counts as
 * admitted if it fails for any other reason than who calls; what an admitted empty request then does is of no interest
 * (almost all are refused as invalid).
 */
export async function walkAccess(
  address: string,
  table: Iterable<Endpoint>,
  tokens: Readonly<Record<Exclude<Caller, "nobody">, string>>,
): Promise<AccessOutcome[]> {
  const client = new Client(address, credentials.createInsecure());
  const outcomes: AccessOutcome[] = [];
  try {
    for (const endpoint of table) {
      for (const caller of callers) {
        const metadata = new Metadata();
        if (caller !== "nobody") metadata.set("authorization", `Bearer ${tokens[caller]}`);
        outcomes.push({
          method: methodName(endpoint),
          caller,
          expected: expectedOf(endpoint, caller),
          actual: await knock(client, endpoint, metadata),
        });
      }
    }
  } finally {
    client.close();
  }
  return outcomes;
}

function expectedOf({ access }: Endpoint, caller: Caller): AccessOutcome["expected"] {
  if (access.public === true) return "admitted";
  if (caller === "nobody") return "unauthenticated";
  const allowed =
    caller === "device"
      ? access.device !== undefined
      : access.role !== undefined && roleIncludes(caller, access.role);
  return allowed ? "admitted" : "permission_denied";
}

function knock(client: Client, endpoint: Endpoint, metadata: Metadata): Promise<AccessOutcome["actual"]> {
  const path = `/${methodName(endpoint)}`;
  const options = { deadline: Date.now() + 20_000 };
  const empty = Buffer.alloc(0);
  return new Promise((resolve) => {
    const onEnd = (error: ServiceError | null) => resolve(outcomeOf(error));
    switch (endpoint.kind) {
      case "unary":
        client.makeUnaryRequest(path, same, same, empty, metadata, options, onEnd);
        return;
      case "client_stream":
        client.makeClientStreamRequest(path, same, same, metadata, options, onEnd).end();
        return;
      case "server_stream":
        follow(client.makeServerStreamRequest(path, same, same, empty, metadata, options), resolve);
        return;
      case "bidi_stream":
        follow(client.makeBidiStreamRequest(path, same, same, metadata, options), resolve);
    }
  });
}

/** Headers come as soon as a stream is admitted, so that one need not wait for its end. */
function follow(
  call: ClientReadableStream<Buffer>,
  resolve: (outcome: AccessOutcome["actual"]) => void,
): void {
  call.on("metadata", () => {
    resolve("admitted");
    call.cancel();
  });
  call.on("error", (error: ServiceError) => resolve(outcomeOf(error)));
  call.resume();
}

function outcomeOf(error: ServiceError | null): AccessOutcome["actual"] {
  if (error?.code === status.UNAUTHENTICATED) return "unauthenticated";
  if (error?.code !== status.PERMISSION_DENIED) return "admitted";
  // A device that names no device in an empty request passed the door.
  return errorInfoOf(error).reason === "ROLE_REQUIRED" ? "permission_denied" : "admitted";
}

function same(bytes: Buffer): Buffer {
  return bytes;
}
