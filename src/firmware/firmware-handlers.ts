import type { MessageShape } from "@bufbuild/protobuf";
import { FirmwareService, type UploadFirmwareRequestSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import { apiCalls, type CallContext, clientStream, type Endpoint, unary } from "../api/pipeline/endpoint.ts";
import { actorOf } from "../call/identity.ts";
import { listPage } from "../call/list-page.ts";
import type { PageTokens } from "../call/page-token.ts";
import { invalidArgument } from "../errors.ts";
import type { FirmwareOutcome } from "./firmware.ts";
import type { FirmwareCatalog } from "./firmware-catalog.ts";
import {
  fromCreateRequest,
  fromListRequest,
  fromUpdateRequest,
  fromUploadRequest,
  toFirmwareMessage,
} from "./firmware-messages.ts";
import type { FirmwareUploads, UploadChunk, UploadProgress } from "./firmware-uploads.ts";

/** What the firmware endpoints work on. */
export interface FirmwareEndpointParts {
  readonly catalog: FirmwareCatalog;
  readonly uploads: FirmwareUploads;
  readonly pageTokens: PageTokens;
}

/** FirmwareService, except DeployFirmware and recalls, which belong to rollouts. */
export function firmwareEndpoints({ catalog, uploads, pageTokens }: FirmwareEndpointParts): Endpoint[] {
  const { method } = FirmwareService;
  return [
    unary(method.createFirmware, apiCalls, async (request, context) => {
      const creator = { ...callerOf(context), requestId: request.requestId || undefined };
      const firmware = await catalog.create(fromCreateRequest(request), creator);
      return { firmware: toFirmwareMessage(firmware) };
    }),

    clientStream(method.uploadFirmware, apiCalls, async (requests, context) => {
      const iterator = requests[Symbol.asyncIterator]();
      const first = await iterator.next();
      const id = first.done === true ? "" : first.value.id;
      if (first.done === true || id === "") throw invalidArgument("id", "is required in the first message");
      return toProgress(await uploads.receive(id, chunksOf(first.value, iterator), callerOf(context)));
    }),

    unary(method.uploadFirmwareChunk, apiCalls, async (request, context) =>
      toProgress(await uploads.append(request.id, fromUploadRequest(request), callerOf(context))),
    ),

    unary(method.getFirmwareUpload, apiCalls, async ({ id }, { signal }) => {
      const { committedBytes, sizeBytes } = await uploads.progress(id, signal);
      return { committedBytes: BigInt(committedBytes), sizeBytes: BigInt(sizeBytes) };
    }),

    unary(method.getFirmware, apiCalls, async ({ id }) => ({
      firmware: toFirmwareMessage(await catalog.get(id)),
    })),

    unary(method.listFirmware, apiCalls, async (request) => {
      const filter = fromListRequest(request);
      const page = await listPage(pageTokens, request, filter, {
        list: (position) => catalog.list(filter, position),
        keyOf: ({ id }) => id,
      });
      return { firmware: page.rows.map(toFirmwareMessage), nextPageToken: page.nextPageToken };
    }),

    unary(method.updateFirmware, apiCalls, async (request, context) => ({
      firmware: toFirmwareMessage(
        await catalog.update(request.id, fromUpdateRequest(request), callerOf(context)),
      ),
    })),

    unary(method.deleteFirmware, apiCalls, async ({ id }, context) =>
      toOutcome(await catalog.softDelete(id, callerOf(context))),
    ),

    unary(method.getFirmwareManifest, apiCalls, async ({ id }) => ({
      manifest: new Uint8Array(await catalog.manifest(id)),
    })),

    unary(method.signFirmware, apiCalls, async ({ id, manifest, keyId, signature }, context) =>
      toOutcome(await catalog.sign(id, { manifest, keyId, signature }, callerOf(context))),
    ),

    unary(method.releaseFirmware, apiCalls, async ({ id }, context) =>
      toOutcome(await catalog.release(id, callerOf(context))),
    ),
  ];
}

function callerOf({ identity, signal }: CallContext): { actor: string; signal: AbortSignal } {
  return { actor: actorOf(identity), signal };
}

type UploadRequest = MessageShape<typeof UploadFirmwareRequestSchema>;

async function* chunksOf(
  first: UploadRequest,
  rest: AsyncIterator<UploadRequest>,
): AsyncGenerator<UploadChunk> {
  yield fromUploadRequest(first);
  for await (const request of { [Symbol.asyncIterator]: () => rest }) yield fromUploadRequest(request);
}

function toProgress({ committedBytes, firmware }: UploadProgress) {
  return {
    committedBytes: BigInt(committedBytes),
    ...(firmware === undefined ? {} : { firmware: toFirmwareMessage(firmware) }),
  };
}

function toOutcome(firmware: FirmwareOutcome) {
  return { firmware: toFirmwareMessage(firmware), unchanged: firmware.unchanged };
}
