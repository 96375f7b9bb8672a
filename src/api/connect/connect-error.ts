import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
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
  for (const { typeUrl, value } of status.details) {
    const type = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
    const desc = detailSchemas.find(({ typeName }) => typeName === type);
    error.details.push(desc === undefined ? { type, value } : { desc, value: fromBinary(desc, value) });
  }
  return error;
}

/** Those that are also shown in JSON. */
const detailSchemas: readonly DescMessage[] = [ErrorInfoSchema, BadRequestSchema, RetryInfoSchema];
