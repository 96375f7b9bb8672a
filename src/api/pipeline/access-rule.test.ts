import { describe, expect, it } from "vitest";
import { Health } from "../../../gen/grpc/health/v1/health_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { UpdateService } from "../../../gen/ota/v1/update_service_pb.js";
import { accessRuleOf } from "./access-rule.ts";

describe("accessRuleOf", () => {
  it("reads the option of a method", () => {
    expect(accessRuleOf(AccessService.method.createToken)).toEqual({ role: "admin" });
    expect(accessRuleOf(AccessService.method.whoAmI)).toMatchObject({ role: "viewer", device: true });
    expect(accessRuleOf(UpdateService.method.checkForUpdate)).toEqual({ device: true });
    expect(accessRuleOf(DeviceService.method.enrolDevice)).toEqual({ public: true });
  });

  it("names nobody for a method without the option", () => {
    expect(accessRuleOf(Health.method.check)).toEqual({});
  });
});
