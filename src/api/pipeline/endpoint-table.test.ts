import { describe, expect, it } from "vitest";
import { Health } from "../../../gen/grpc/health/v1/health_pb.js";
import { HeartbeatService } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import { accessRuleOf } from "./access-rule.ts";
import { bidiStream, type Endpoint, unary } from "./endpoint.ts";
import { contractServices, EndpointTable } from "./endpoint-table.ts";

const { streamHeartbeats, sendHeartbeat, listHeartbeats } = HeartbeatService.method;
const options = { access: { role: "viewer" }, rate: "operator" } as const;
const send = unary(sendHeartbeat, options, async () => ({}));
const list = unary(listHeartbeats, options, async () => ({}));
const stream = bidiStream(streamHeartbeats, options, async function* () {});
const all = [send, list, stream];

describe("EndpointTable", () => {
  it("holds each method once and its REST bindings", () => {
    const table = new EndpointTable(all, [HeartbeatService]);
    expect([...table]).toEqual(all);
    expect(table.get("ota.v1.HeartbeatService/SendHeartbeat")).toBe(send);
    expect(table.bindings.map(({ binding }) => `${binding.verb} ${binding.path}`).toSorted()).toEqual([
      "GET /api/v1/heartbeat/{device_id}",
      "POST /api/v1/heartbeat",
    ]);
  });

  it.each<[string, Endpoint[], string]>([
    ["a method without endpoint", [send, list], "no endpoint for ota.v1.HeartbeatService/StreamHeartbeats"],
    ["a method with two", [...all, send], "two endpoints for ota.v1.HeartbeatService/SendHeartbeat"],
    [
      "an endpoint that nobody may call",
      [unary(sendHeartbeat, { access: {}, rate: "device" }, async () => ({})), list, stream],
      "nobody may call",
    ],
    [
      "a further service that is not complete",
      [...all, unary(Health.method.check, options, async () => ({}))],
      "no endpoint for grpc.health.v1.Health/Watch, grpc.health.v1.Health/List",
    ],
  ])("refuses %s", (_what, endpoints, message) => {
    expect(() => new EndpointTable(endpoints, [HeartbeatService])).toThrow(message);
  });

  it("refuses two methods at one path", () => {
    const twin = { ...list, method: { ...listHeartbeats, name: "Twin" } } as unknown as Endpoint;
    expect(() => new EndpointTable([...all, twin], [HeartbeatService])).toThrow(
      "both claim GET /api/v1/heartbeat/{device_id}",
    );
  });

  it("takes the whole contract without a clash", () => {
    const endpoints = contractServices.flatMap(({ methods }) =>
      methods.map(
        (method) =>
          ({
            kind: {
              unary: "unary",
              server_streaming: "server_stream",
              client_streaming: "client_stream",
              bidi_streaming: "bidi_stream",
            }[method.methodKind],
            method,
            access: accessRuleOf(method),
            options,
          }) as unknown as Endpoint,
      ),
    );
    const table = new EndpointTable(endpoints);
    const unaries = endpoints.filter(({ kind }) => kind === "unary");
    // Every unary method can be called over REST.
    expect(new Set(table.bindings.map(({ endpoint }) => endpoint as Endpoint))).toEqual(new Set(unaries));
  });
});
