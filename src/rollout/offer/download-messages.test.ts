import { create, equals, fromBinary } from "@bufbuild/protobuf";
import { crc32c } from "@node-rs/crc32";
import { expect, it } from "vitest";
import { DownloadFirmwareResponseSchema } from "../../../gen/ota/v1/update_service_pb.js";
import { PiecePool } from "../../firmware/download-piece.ts";
import { ChunkAnswer, chunksInPlace } from "./download-messages.ts";

const pool = new PiecePool(256 * 1024);

it.each([
  [0, Buffer.alloc(0)],
  [1, Buffer.from([1, 2, 3])],
  [Number.MAX_SAFE_INTEGER, Buffer.alloc(256 * 1024, 7)],
])("encodes a chunk as the contract says: offset %i", async (offset, data) => {
  const answer = new ChunkAnswer(await pool.fill(async (memory) => data.copy(memory)), offset);
  const value = { offset: BigInt(offset), data, crc32c: crc32c(data) };
  const message = create(DownloadFirmwareResponseSchema, { message: { case: "chunk", value } });
  const frame = chunksInPlace.frame(answer) ?? Buffer.alloc(5);
  expect([frame[0], frame.readUInt32BE(1)]).toEqual([0, frame.length - 5]);
  const decoded = fromBinary(DownloadFirmwareResponseSchema, frame.subarray(5));
  expect(equals(DownloadFirmwareResponseSchema, decoded, message)).toBe(true);
  // The doors that have an encoder of their own take it as it is.
  expect(
    equals(DownloadFirmwareResponseSchema, create(DownloadFirmwareResponseSchema, answer), message),
  ).toBe(true);
});

it("leaves other answers to the general encoder", () => {
  expect(chunksInPlace.frame({ message: { case: "header", value: {} } })).toBeUndefined();
});
