import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, it } from "vitest";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { checkedBatch } from "./batch-messages.ts";

/** One heartbeat for each rule of the contract, at the far side of its limit. */
const beyondTheRules: Record<string, MessageInitShape<typeof HeartbeatSchema>> = {
  firmware_version: { firmwareVersion: "v".repeat(129) },
  boot_id: { bootId: "b".repeat(65) },
  "network.type": { network: { type: 6 as never } },
  "network.carrier": { network: { carrier: "c".repeat(65) } },
  image_sha256: { imageSha256: new Uint8Array(33) },
  errors: { errors: Array.from({ length: 17 }, () => ({ code: "E" })) },
  "errors[0].code": { errors: [{ code: "E".repeat(65) }] },
  "errors[0].severity": { errors: [{ code: "E", severity: 5 as never }] },
  "errors[0].message": { errors: [{ code: "E", message: "m".repeat(2_001) }] },
  "errors[0].stack": { errors: [{ code: "E", stack: "s".repeat(16_001) }] },
};

describe("the checks of single heartbeats, held against the contract's rules", () => {
  const validator = createValidator();

  it.each(Object.entries(beyondTheRules))(
    "refuses or leaves out what the rule of %s refuses",
    (field, init) => {
      const heartbeat = create(HeartbeatSchema, { sequence: 1n, ...init });
      expect(validator.validate(HeartbeatSchema, heartbeat).kind).toBe("invalid");
      const { rejected, leftOut } = checkedBatch([heartbeat], {
        deviceId: "01900000-0000-7000-8000-000000000001",
        epoch: 1,
        receivedAt: new Date(),
        hello: undefined,
      });
      expect([...rejected, ...leftOut.named]).toMatchObject([{ sequence: 1n, field }]);
    },
  );

  it("counts characters and not UTF-16 units", () => {
    const heartbeat = create(HeartbeatSchema, { sequence: 1n, bootId: "😀".repeat(64) });
    expect(validator.validate(HeartbeatSchema, heartbeat).kind).toBe("valid");
    const context = {
      deviceId: "01900000-0000-7000-8000-000000000001",
      epoch: 1,
      receivedAt: new Date(),
      hello: undefined,
    };
    expect(checkedBatch([heartbeat], context).rejected).toEqual([]);
  });
});
