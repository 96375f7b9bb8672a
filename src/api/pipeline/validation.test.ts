import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { OtaError } from "../../errors.ts";
import { contractServices } from "./endpoint-table.ts";
import { checkRequest } from "./validation.ts";

const inputs = contractServices.flatMap(({ methods }) =>
  methods.map(({ input }) => [input.typeName, input] as const),
);

it.each(inputs)("the rules of %s can be compiled, and judge it", (_, input) => {
  const judge = () => {
    try {
      checkRequest(input, create(input));
      return "valid";
    } catch (error) {
      return error instanceof OtaError ? error.reason : error;
    }
  };
  expect(["valid", "INVALID_REQUEST"]).toContain(judge());
});
