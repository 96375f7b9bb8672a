import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { ErrorReasonSchema } from "../gen/ota/v1/error_reason_pb.js";

it("names the reasons of the contract's ErrorReason, in its order", async () => {
  const source = await readFile(new URL("./errors.ts", import.meta.url), "utf8");
  // A union of string literals leaves nothing at run time that could be compared.
  const union = /export type ErrorReason =([^;]+);/.exec(source)?.[1] ?? "";
  const reasons = [...union.matchAll(/"(\w+)"/g)].map(([, reason]) => reason);
  const contract = ErrorReasonSchema.values.filter(({ number }) => number !== 0);
  expect(reasons).toEqual(contract.map(({ name }) => name.replace(/^ERROR_REASON_/, "")));
});
