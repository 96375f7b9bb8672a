import type { DescMethod } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { accessRuleOf } from "../../src/api/pipeline/access-rule.ts";
import type { Endpoint } from "../../src/api/pipeline/endpoint.ts";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { walkAccess } from "../api/access-walk.ts";
import { enrolDevice, mintToken } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

it("lets in at every RPC of the contract those whom its option names, and nobody else", async () => {
  const methods = contractServices.flatMap(({ methods }) => methods);
  const tokens = {
    device: (await enrolDevice(service)).token,
    viewer: (await mintToken(service, Role.VIEWER)).secret,
    operator: (await mintToken(service, Role.OPERATOR)).secret,
    admin: service.adminToken,
  };
  const outcomes = await walkAccess(service.grpcAddress, methods.map(endpointOf), tokens);

  expect(outcomes).toHaveLength(methods.length * 5);
  expect(outcomes.filter(({ expected, actual }) => expected !== actual)).toEqual([]);
});

const kinds = {
  unary: "unary",
  server_streaming: "server_stream",
  client_streaming: "client_stream",
  bidi_streaming: "bidi_stream",
} as const;

/** What the walk has to know of a method. */
function endpointOf(method: DescMethod): Endpoint {
  return { method, kind: kinds[method.methodKind], access: accessRuleOf(method) } as unknown as Endpoint;
}
