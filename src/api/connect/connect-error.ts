import type { DescMessage } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.js";
import type { Failure } from "../pipeline/failure.ts";

/** A failure as Connect knows errors; google.rpc codes are Connect's codes. */
export function toConnectError({ code, status }: Failure): ConnectError {
  const error = new ConnectError(status.message, code.number as number as Code);
  for (const detail of status.details) {
    for (const desc of detailSchemas) {
      const value = anyUnpack(detail, desc);
      if (value !== undefined) error.details.push({ desc, value });
    }
  }
  return error;
}

const detailSchemas: readonly DescMessage[] = [ErrorInfoSchema, BadRequestSchema, RetryInfoSchema];
