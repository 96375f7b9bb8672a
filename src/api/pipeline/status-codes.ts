import { Code } from "../../../gen/google/rpc/code_pb.js";
import type { ErrorCode } from "../../errors.ts";

/** One canonical code in the forms that the doors need. */
export interface StatusCode {
  /** The number in google.rpc.Code, gRPC and Connect. */
  readonly number: Code;
  /** The HTTP status that the REST door answers with (google/rpc/code.proto, AIP-193). */
  readonly http: number;
  /** Whose fault it is, which decides how loudly it is logged. */
  readonly fault: "client" | "service";
}

/** The canonical codes. A table, so that a code that is added cannot be forgotten at one door. */
export const statusCodes: Readonly<Record<ErrorCode, StatusCode>> = {
  cancelled: { number: Code.CANCELLED, http: 499, fault: "client" },
  invalid_argument: { number: Code.INVALID_ARGUMENT, http: 400, fault: "client" },
  deadline_exceeded: { number: Code.DEADLINE_EXCEEDED, http: 504, fault: "client" },
  not_found: { number: Code.NOT_FOUND, http: 404, fault: "client" },
  already_exists: { number: Code.ALREADY_EXISTS, http: 409, fault: "client" },
  permission_denied: { number: Code.PERMISSION_DENIED, http: 403, fault: "client" },
  unauthenticated: { number: Code.UNAUTHENTICATED, http: 401, fault: "client" },
  resource_exhausted: { number: Code.RESOURCE_EXHAUSTED, http: 429, fault: "client" },
  failed_precondition: { number: Code.FAILED_PRECONDITION, http: 400, fault: "client" },
  aborted: { number: Code.ABORTED, http: 409, fault: "client" },
  out_of_range: { number: Code.OUT_OF_RANGE, http: 400, fault: "client" },
  unimplemented: { number: Code.UNIMPLEMENTED, http: 501, fault: "client" },
  internal: { number: Code.INTERNAL, http: 500, fault: "service" },
  unavailable: { number: Code.UNAVAILABLE, http: 503, fault: "service" },
  data_loss: { number: Code.DATA_LOSS, http: 500, fault: "service" },
};
