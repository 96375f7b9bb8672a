import { randomUUID } from "node:crypto";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { expect, it } from "vitest";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { seedOf, seedRequests } from "./seed-requests.ts";

const methods = contractServices.flatMap((service) => service.methods);
const seeds = seedRequests({
  enrolmentKey: `ota_enrol_${"0".repeat(43)}`,
  device: randomUUID(),
  other: randomUUID(),
  firmware: randomUUID(),
  rollout: randomUUID(),
});
const validator = createValidator();

it("has a request of every method that the contract's rules take", () => {
  const faults = methods.flatMap((method) => {
    const { kind, error } = validator.validate(
      method.input,
      fromJson(method.input, seedOf(seeds, method) as JsonValue),
    );
    return kind === "valid" ? [] : `${method.toString()}: ${error?.message}`;
  });
  expect(faults).toEqual([]);
});

it("names no other method", () => {
  const names = methods.map(({ parent, name }) => `${parent.name}/${name}`);
  expect(Object.keys(seeds).filter((name) => !names.includes(name))).toEqual([]);
});
