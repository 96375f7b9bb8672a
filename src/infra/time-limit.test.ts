import { expect, test } from "vitest";
import { withTimeLimit } from "./time-limit.ts";

const late = () => new Error("too late");

test("work in time is what it is, be it a success or a failure", async () => {
  await expect(withTimeLimit(Promise.resolve("done"), 3_600_000, late)).resolves.toBe("done");
  await expect(withTimeLimit(Promise.reject(new Error("broken")), 3_600_000, late)).rejects.toThrow("broken");
});

test("work that takes too long is not waited for", async () => {
  await expect(withTimeLimit(new Promise(() => undefined), 1, late)).rejects.toThrow("too late");
});
