import { expect, it } from "vitest";
import { compareVersions } from "./compare-versions.ts";

it("orders versions as semver does", () => {
  const ordered = ["0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0-rc.10"];
  const all = [...ordered, "1.0.0", "1.2.0", "1.10.0+build.7", "2.0.0"];
  expect(all.toReversed().toSorted(compareVersions)).toEqual(all);
});
