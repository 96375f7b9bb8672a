import { create, equals, fromBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { DownloadFirmwareResponseSchema } from "../../gen/ota/v1/update_service_pb.js";
import { encodeChunk } from "./download-messages.ts";

it.each([
  { offset: 0n, data: new Uint8Array(), crc32c: 0 },
  { offset: 1n, data: Uint8Array.of(1, 2, 3), crc32c: 0xffff_ffff },
  { offset: 2n ** 40n, data: new Uint8Array(256 * 1024).fill(7), crc32c: 0x1234_5678 },
])("encodes a chunk as the contract says: offset $offset", (value) => {
  const message = create(DownloadFirmwareResponseSchema, { message: { case: "chunk", value } });
  const bytes = encodeChunk({ message: { case: "chunk", value } });
  const decoded = fromBinary(DownloadFirmwareResponseSchema, bytes ?? new Uint8Array());
  expect(equals(DownloadFirmwareResponseSchema, decoded, message)).toBe(true);
});

it("leaves other answers to the general encoder", () => {
  expect(encodeChunk({ message: { case: "header", value: {} } })).toBeUndefined();
});
