import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { clientErrorFrom } from "./client-error.ts";

function thrown(details: Uint8Array): ServiceError {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(details));
  return Object.assign(new Error("x"), { code: status.UNAVAILABLE, details: "away", metadata });
}

function asking(seconds: bigint): ServiceError {
  const info = create(RetryInfoSchema, { retryDelay: { seconds, nanos: 0 } });
  return thrown(toBinary(StatusSchema, create(StatusSchema, { details: [anyPack(RetryInfoSchema, info)] })));
}

it.each([
  [5n, 5_000],
  [-5n, 0],
  [1_000_000_000n, 86_400_000],
])("a service that asks to wait %s seconds gets %i milliseconds", (seconds, expected) => {
  expect(clientErrorFrom(asking(seconds)).retryAfterMs).toBe(expected);
});

it("details that cannot be read say nothing", () => {
  const error = clientErrorFrom(thrown(Uint8Array.of(0xff, 0xff, 0xff)));
  expect(error).toMatchObject({
    code: status.UNAVAILABLE,
    message: "away",
    reason: "",
    retryAfterMs: undefined,
  });
});
