import { create } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import type { Door } from "../../src/api/pipeline/endpoint.ts";
import type { Failure } from "../../src/api/pipeline/failure.ts";
import { Pipeline, type Route, type Target } from "../../src/api/pipeline/pipeline.ts";

/** An error as a published suite asks a handler for it: with any code, and details of its own. */
export class AskedError extends Error {
  readonly code: number;
  readonly details: readonly Any[];

  constructor(code: number, message: string, details: readonly Any[]) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/**
 * The service's pipeline, but for what errors say. Published suites ask handlers for errors that ours never give, and take each detail that
 * they did not ask for, such as our ErrorInfo, for a fault. Which code an error gets, and how each door sends it, stays as it is.
 */
export class SuitePipeline extends Pipeline {
  override route(target: Target, door: Door): Route {
    const route = super.route(target, door);
    const fail = route.fail.bind(route);
    route.fail = (call, thrown) => withoutOurDetails(fail(call, thrown), thrown);
    return route;
  }
}

function withoutOurDetails({ error, code, status }: Failure, thrown: unknown): Failure {
  if (!(thrown instanceof AskedError)) {
    return { error, code, status: create(StatusSchema, { code: status.code, message: status.message }) };
  }
  const asked = { code: thrown.code, message: thrown.message, details: [...thrown.details] };
  return { error, code: { ...code, number: thrown.code }, status: create(StatusSchema, asked) };
}
