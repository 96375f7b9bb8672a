import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { SymbolFileSchema } from "../../gen/ota/v1/error_group_pb.js";
import type { MissingBuildSchema } from "../../gen/ota/v1/error_service_pb.js";
import type { MissingBuild } from "./missing-builds.ts";
import type { SymbolFile } from "./symbols/symbol-files.ts";

/** A symbol file on the wire. */
export function symbolFileMessage({
  createdAt,
  sizeBytes,
  functionCount,
  ...file
}: SymbolFile): MessageInitShape<typeof SymbolFileSchema> {
  return {
    ...file,
    sizeBytes: BigInt(sizeBytes),
    functionCount: BigInt(functionCount),
    createTime: timestampFromDate(createdAt),
  };
}

/** A symbol file in protobuf's JSON mapping. */
export function symbolFileJson(file: SymbolFile): unknown {
  return toJson(SymbolFileSchema, create(SymbolFileSchema, symbolFileMessage(file)), {
    alwaysEmitImplicit: true,
  });
}

/** A build without a symbol file on the wire. */
export function missingBuildMessage({
  lastSeenAt,
  ...build
}: MissingBuild): MessageInitShape<typeof MissingBuildSchema> {
  return { ...build, lastSeenTime: timestampFromDate(lastSeenAt) };
}
