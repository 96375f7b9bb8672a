import { create, toBinary } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  type CheckForUpdateResponse,
  CheckForUpdateResponseSchema,
  NoOfferReason,
} from "../../../gen/ota/v1/update_service_pb.js";

/**
 * The answers to an update check that finds nothing newer: all but a few of a fleet's checks get one, so they are made and
 * encoded once. There are several, which differ in the jitter of `retry_after`; they are handed out in turn.
 */
export class UpToDateAnswers {
  readonly #answers: readonly CheckForUpdateResponse[];
  readonly #bytes: ReadonlyMap<object, Buffer>;
  #next = 0;

  /** `retryAfter` is asked once for each answer and brings the jitter. */
  constructor(retryAfter: () => Duration) {
    this.#answers = Array.from({ length: jitteredAnswers }, () =>
      create(CheckForUpdateResponseSchema, {
        noOfferReason: NoOfferReason.UP_TO_DATE,
        retryAfter: retryAfter(),
      }),
    );
    this.#bytes = new Map(
      this.#answers.map((answer) => [answer, Buffer.from(toBinary(CheckForUpdateResponseSchema, answer))]),
    );
  }

  /** The next one. Shared: it must not be changed. */
  take(): CheckForUpdateResponse {
    this.#next = (this.#next + 1) % jitteredAnswers;
    return this.#answers[this.#next] as CheckForUpdateResponse;
  }

  /** The bytes of an answer that came from {@link take}; undefined for any other. */
  encode(answer: object): Buffer | undefined {
    return this.#bytes.get(answer);
  }
}

/** Enough that a fleet does not come back in steps. */
const jitteredAnswers = 64;
