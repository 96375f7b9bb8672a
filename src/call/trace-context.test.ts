import { expect, it } from "vitest";
import { traceContextOf } from "./trace-context.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";

it("reads the specification's example, and whether it is recorded", () => {
  expect(traceContextOf(`00-${traceId}-${spanId}-01`)).toEqual({ traceId, spanId, isSampled: true });
  expect(traceContextOf(`00-${traceId}-${spanId}-00`)).toEqual({ traceId, spanId, isSampled: false });
});

it("reads what a later version appends to", () => {
  expect(traceContextOf(`01-${traceId}-${spanId}-03-more`)).toMatchObject({ traceId, isSampled: true });
});

it.each([
  undefined,
  "",
  "nonsense",
  `ff-${traceId}-${spanId}-01`,
  `00-${traceId.toUpperCase()}-${spanId}-01`,
  `00-${"0".repeat(32)}-${spanId}-01`,
  `00-${traceId}-${"0".repeat(16)}-01`,
  `00-${traceId}-${spanId}-01more`,
  `00-${traceId}\n-${spanId}-01`,
])("says nothing for %j", (header) => {
  expect(traceContextOf(header)).toBeUndefined();
});
