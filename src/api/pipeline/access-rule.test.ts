import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { Health } from "../../../gen/grpc/health/v1/health_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService, StreamHeartbeatsRequestSchema } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import { UpdateService } from "../../../gen/ota/v1/update_service_pb.js";
import { accessRuleOf, textReader } from "./access-rule.ts";

describe("accessRuleOf", () => {
  it("reads the option of a method", () => {
    expect(accessRuleOf(AccessService.method.createToken)).toEqual({ role: "admin" });
    expect(accessRuleOf(AccessService.method.whoAmI)).toEqual({ role: "viewer", device: true });
    expect(accessRuleOf(UpdateService.method.checkForUpdate)).toEqual({ device: true });
    expect(accessRuleOf(DeviceService.method.enrolDevice)).toEqual({ public: true });
  });

  it("names nobody for a method without the option", () => {
    expect(accessRuleOf(Health.method.check)).toEqual({});
  });
});

describe("textReader", () => {
  const { listHeartbeats } = HeartbeatService.method;
  const deviceId = "019a0000-0000-7000-8000-000000000000";

  it("reads a field, and nothing where it is empty", () => {
    const read = textReader(listHeartbeats.input, "device_id");
    expect(read(create(listHeartbeats.input, { deviceId }))).toBe(deviceId);
    expect(read(create(listHeartbeats.input))).toBeUndefined();
  });

  it("reads a field of a message in a oneof, and nothing of another message", () => {
    const read = textReader(StreamHeartbeatsRequestSchema, "hello.device_id");
    const hello = { case: "hello", value: { deviceId } } as const;
    expect(read(create(StreamHeartbeatsRequestSchema, { message: hello }))).toBe(deviceId);
    const goodbye = { case: "goodbye", value: {} } as const;
    expect(read(create(StreamHeartbeatsRequestSchema, { message: goodbye }))).toBeUndefined();
    expect(read(create(StreamHeartbeatsRequestSchema))).toBeUndefined();
  });

  it.each(["device", "page_size.device", "read_mask.paths.device"])("refuses the path %s", (path) => {
    expect(() => textReader(listHeartbeats.input, path)).toThrow(/no field|no message/);
  });
});
