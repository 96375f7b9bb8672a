import { equals, fromBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { CheckForUpdateResponseSchema, NoOfferReason } from "../../../gen/ota/v1/update_service_pb.js";
import { UpToDateAnswers } from "./up-to-date-messages.ts";

it("hands out answers with different jitter, and the bytes that they encode to", () => {
  let ms = 0;
  const answers = new UpToDateAnswers(() => durationFromMs(++ms));
  const taken = Array.from({ length: 64 }, () => answers.take());
  expect(new Set(taken.map(({ retryAfter }) => retryAfter?.nanos)).size).toBe(64);
  for (const answer of taken) {
    expect(answer.noOfferReason).toBe(NoOfferReason.UP_TO_DATE);
    const decoded = fromBinary(CheckForUpdateResponseSchema, answers.encode(answer) ?? new Uint8Array());
    expect(equals(CheckForUpdateResponseSchema, decoded, answer)).toBe(true);
  }
});

it("knows only its own answers", () => {
  expect(new UpToDateAnswers(() => durationFromMs(1)).encode({})).toBeUndefined();
});
