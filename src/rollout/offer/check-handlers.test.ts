import { create, type MessageShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { expect, it } from "vitest";
import {
  CheckForUpdateRequestSchema,
  type CheckForUpdateResponseSchema,
} from "../../../gen/ota/v1/update_service_pb.js";
import { systemClock } from "../../infra/clock.ts";
import { checkEndpoint } from "./check-handlers.ts";
import { none } from "./offer-decision.ts";
import { WaitingChecks } from "./waiting-checks.ts";

it("looks again when something was announced, and at no other time", async () => {
  const waiting = new WaitingChecks();
  const looks: string[] = [];
  const looked = Promise.withResolvers<void>();
  const endpoint = checkEndpoint({
    offers: {
      check: () => {
        looks.push("check");
        return none("UP_TO_DATE", "");
      },
      checkAgain: async () => {
        looks.push("again");
        looked.resolve();
        return none("UP_TO_DATE", "");
      },
    },
    metrics: { checks: { labels: () => ({ inc: () => undefined }) } },
    waiting,
    places: { take: () => ({ release: () => undefined }) },
    clock: systemClock,
    longestWaitMs: 3_600_000,
  } as never);
  const request = create(CheckForUpdateRequestSchema, {
    firmwareVersion: "1",
    wait: durationFromMs(3_600_000),
  });
  const context = {
    identity: { kind: "device", deviceId: "a", credentialId: "c" },
    signal: new AbortController().signal,
    logger: pino({ level: "silent" }),
    lasts: () => undefined,
    waited: () => undefined,
  };
  const answer = endpoint.handle(request as never, context as never) as Promise<
    Partial<MessageShape<typeof CheckForUpdateResponseSchema>>
  >;
  expect(waiting.updateAvailable("b")).toBe(false);
  expect(waiting.updateAvailable("a")).toBe(true);
  await looked.promise;
  waiting.drain();
  expect((await answer).appliedWait).toMatchObject({ seconds: 3_600n });
  expect(looks).toEqual(["check", "again"]);
});
