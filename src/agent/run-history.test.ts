import { expect, it } from "vitest";
import { hasRun, type PastRun, productOf, withProduct, withRun } from "./run-history.ts";

const one: PastRun = { component: "", version: "1.0.0" };

it("knows what ran, each component for itself, and equal versions as one", () => {
  const history = withRun([], one);
  expect(hasRun(history, { component: "", version: "v1.0.0+git.abc" })).toBe(true);
  expect(hasRun(history, { component: "nav", version: "1.0.0" })).toBe(false);
  expect(hasRun(history, { component: "", version: "1.0.1" })).toBe(false);
  expect(withRun(history, one)).toBe(history);
});

it("forgets a component's oldest versions, and no other's", () => {
  let history = withRun([], { component: "nav", version: "1.0.0" });
  for (let patch = 0; patch <= 64; patch++)
    history = withRun(history, { component: "", version: `1.0.${patch}` });
  expect(history).toHaveLength(65);
  expect(hasRun(history, one)).toBe(false);
  expect(hasRun(history, { component: "nav", version: "1.0.0" })).toBe(true);
});

it("keeps to the first product of each component", () => {
  const known = withProduct([], { component: "", product: "thermostat-os" });
  expect(withProduct(known, { component: "", product: "other-os" })).toBe(known);
  expect(productOf(known, "")).toBe("thermostat-os");
  expect(productOf(known, "constructor")).toBeUndefined();
});
