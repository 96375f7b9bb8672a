import type { DescService } from "@bufbuild/protobuf";
import { Code } from "../../../gen/google/rpc/code_pb.js";
import { file_google_rpc_error_details } from "../../../gen/google/rpc/error_details_pb.js";
import { file_google_rpc_status } from "../../../gen/google/rpc/status_pb.js";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "../../../gen/grpc/reflection/v1/reflection_pb.js";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as ServerReflectionRequestAlpha,
} from "../../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { file_ota_v1_error_reason } from "../../../gen/ota/v1/error_reason_pb.js";
import { bidiStream, type Endpoint } from "../pipeline/endpoint.ts";
import { DescriptorIndex } from "./descriptor-index.ts";

/**
 * Server reflection, grpc.reflection.v1 and v1alpha (which older clients still ask for), over the same descriptors that
 * the doors use, and over those of the details of errors. Public: the contract is no secret.
 */
export function reflectionEndpoints(services: readonly DescService[]): Endpoint[] {
  const errors = [file_google_rpc_status, file_google_rpc_error_details, file_ota_v1_error_reason];
  const index = new DescriptorIndex([...services, ServerReflection, ServerReflectionAlpha], errors);
  const options = { access: { public: true }, rate: "operator" } as const;
  return [
    bidiStream(ServerReflection.method.serverReflectionInfo, options, async function* (requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(index, request) };
      }
    }),
    bidiStream(ServerReflectionAlpha.method.serverReflectionInfo, options, async function* (requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(index, request) };
      }
    }),
  ];
}

/** Both versions have the same messages. */
function answer(index: DescriptorIndex, request: ServerReflectionRequest | ServerReflectionRequestAlpha) {
  const { messageRequest: asked } = request;
  switch (asked.case) {
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: index.serviceNames.map((name) => ({ name })) },
      } as const;
    case "fileByFilename":
      return files(index.byFileName(asked.value), asked.value);
    case "fileContainingSymbol":
      return files(index.bySymbol(asked.value), asked.value);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = asked.value;
      return files(
        index.byExtension(containingType, extensionNumber),
        `${containingType}[${extensionNumber}]`,
      );
    }
    case "allExtensionNumbersOfType": {
      const numbers = index.extensionNumbers(asked.value);
      if (numbers === undefined) return unknown(asked.value);
      return {
        case: "allExtensionNumbersResponse",
        value: { baseTypeName: asked.value, extensionNumber: numbers },
      } as const;
    }
    case undefined:
      return {
        case: "errorResponse",
        value: { errorCode: Code.INVALID_ARGUMENT, errorMessage: "the request asks for nothing" },
      } as const;
  }
}

function files(found: Uint8Array[] | undefined, asked: string) {
  if (found === undefined) return unknown(asked);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: found } } as const;
}

function unknown(asked: string) {
  const errorMessage = `${asked.slice(0, 200).toWellFormed()} is not known here`;
  return { case: "errorResponse", value: { errorCode: Code.NOT_FOUND, errorMessage } } as const;
}
