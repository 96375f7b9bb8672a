import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const src = join(import.meta.dirname, "../..");

test("no two advisory locks have the same number, and no file but one numbers any", () => {
  const numbers = globSync("**/*.ts", { cwd: src }).flatMap((file) =>
    Array.from(readFileSync(join(src, file), "utf8").matchAll(/\b7_236_40\d_\d{3}\b/g), ([number]) => ({
      file,
      number,
    })),
  );
  expect(new Set(numbers.map(({ file }) => file))).toEqual(new Set(["infra/database/advisory-locks.ts"]));
  expect(new Set(numbers.map(({ number }) => number)).size).toBe(numbers.length);
});
