import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { BatchUpdateDevicesRequestSchema } from "../../../gen/ota/v1/device_service_pb.js";
import {
  ListHeartbeatsRequestSchema,
  StreamHeartbeatsRequestSchema,
} from "../../../gen/ota/v1/heartbeat_service_pb.js";
import { CreateRolloutRequestSchema } from "../../../gen/ota/v1/rollout_service_pb.js";
import { textChanger, textsReader } from "./field-path.ts";

const deviceId = "019a0000-0000-7000-8000-000000000000";

describe("textsReader", () => {
  it("reads a field, and nothing where it is empty", () => {
    const read = textsReader(ListHeartbeatsRequestSchema, "device_id");
    expect(read(create(ListHeartbeatsRequestSchema, { deviceId }))).toEqual([deviceId]);
    expect(read(create(ListHeartbeatsRequestSchema))).toEqual([]);
  });

  it("reads all texts of a list", () => {
    const read = textsReader(BatchUpdateDevicesRequestSchema, "device_ids");
    expect(read(create(BatchUpdateDevicesRequestSchema, { deviceIds: ["a", "b"] }))).toEqual(["a", "b"]);
  });

  it("reads a field of a message in a oneof, and nothing of another message", () => {
    const read = textsReader(StreamHeartbeatsRequestSchema, "hello.device_id");
    const hello = { case: "hello", value: { deviceId } } as const;
    expect(read(create(StreamHeartbeatsRequestSchema, { message: hello }))).toEqual([deviceId]);
    const goodbye = { case: "goodbye", value: {} } as const;
    expect(read(create(StreamHeartbeatsRequestSchema, { message: goodbye }))).toEqual([]);
    expect(read(create(StreamHeartbeatsRequestSchema))).toEqual([]);
  });

  it.each(["device", "page_size.device", "read_mask.paths.device"])("refuses the path %s", (path) => {
    expect(() => textsReader(ListHeartbeatsRequestSchema, path)).toThrow(/no field|no message/);
  });
});

describe("textChanger", () => {
  const change = textChanger(CreateRolloutRequestSchema, "targeting.filter");

  it("changes a field, and makes the message that it lies in", () => {
    const request = create(CreateRolloutRequestSchema, { targeting: { filter: "a", tags: ["t"] } });
    change(request, (text) => `${text}b`);
    expect(request.targeting).toMatchObject({ filter: "ab", tags: ["t"] });
    const bare = create(CreateRolloutRequestSchema);
    change(bare, (text) => `${text}b`);
    expect(bare.targeting).toMatchObject({ filter: "b" });
  });
});
