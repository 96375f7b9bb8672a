import fc from "fast-check";
import semver from "semver";
import { describe, expect, it } from "vitest";
import { compareVersions, isSameVersion } from "./compare-versions.ts";
import { isReportOf, ReportedVersions } from "./reported-versions.ts";
import { canonicalVersion, isSemanticVersion } from "./semantic-version.ts";
import { versionIdentity, versionKey } from "./version-key.ts";

/** Lower, the same, or higher: each pair as devices and tags really write it. */
const cases: readonly [string, "<" | "=", string][] = [
  ["1.1.0", "=", "1.1.0+git.abc"],
  ["1.1.0+git.abc", "=", "1.1.0+git.def"],
  ["v1.1.0", "=", "1.1.0"],
  ["V1.1.0", "=", "1.1.0+20240801"],
  ["v1.1.0-rc.1", "=", "1.1.0-rc.1"],
  ["1.1.1", "<", "1.1.10"],
  ["3.9.0", "<", "3.10.0"],
  ["1.6.0", "<", "1.11.0"],
  ["1.0.0-alpha.11", "<", "1.0.0-alpha.12"],
  ["1.0.0-alpha.2", "<", "1.0.0-alpha.10"],
  ["1.0.0-alpha", "<", "1.0.0-alpha.1"],
  ["1.0.0-alpha.1", "<", "1.0.0-alpha.beta"],
  ["1.0.0-rc.1", "<", "1.0.0"],
  ["1.0.0-RC", "<", "1.0.0-rc"],
  ["8.8.1-11-g8c926e5+188370", "<", "8.8.1"],
  ["9007199254740990.0.0", "<", "9007199254740991.0.0"],
  ["1.0.0-90071992547409920", "<", "1.0.0-90071992547409921"],
  // What is no semantic version goes by its parts, and is the same only as itself.
  ["0.1", "<", "0.2"],
  ["1.0.1.0", "<", "1.0.1.1"],
  ["2024.07.9", "<", "2024.08.1"],
  ["34105904", "<", "34105905"],
  ["2016.08-1", "=", "2016.08-1"],
  ["", "=", ""],
];

/** No semantic versions, whatever a parser makes of them. */
const odd = [
  "",
  "1",
  "0.1",
  "1.2.3.4",
  "2024.08.1",
  "34105904",
  "2016.08-1",
  "01.2.3",
  "1.2.3-01",
  " 1.2.3",
  "=1.2.3",
  "vv1.0.0",
];

describe("versions", () => {
  it.each(cases)("%s %s %s", (a, relation, b) => {
    expect(Math.sign(compareVersions(a, b))).toBe(relation === "<" ? -1 : 0);
    expect(Math.sign(compareVersions(b, a))).toBe(relation === "<" ? 1 : 0);
    expect(isSameVersion(a, b)).toBe(relation === "=");
    expect(versionIdentity(a) === versionIdentity(b)).toBe(relation === "=");
    const [x = "", y = ""] = [versionKey(a), versionKey(b)];
    expect(x < y).toBe(relation === "<" && isSemanticVersion(a) && isSemanticVersion(b));
  });

  it.each(odd)("takes %j for no semantic version", (text) => {
    expect(isSemanticVersion(text)).toBe(false);
    expect(canonicalVersion(text)).toBeUndefined();
    expect(versionKey(text)).toBeUndefined();
  });

  it("are one text without what counts for nothing", () => {
    expect(["v1.2.3+b.1", "V1.2.3-rc.1", "1.2.3"].map(canonicalVersion)).toEqual([
      "1.2.3",
      "1.2.3-rc.1",
      "1.2.3",
    ]);
  });

  it("do not take a text for the same because its parts are worth the same", () => {
    expect(isSameVersion("2024.08.1", "2024.8.1")).toBe(false);
    expect(isSameVersion("1.0.1.0", "1.0.1")).toBe(false);
    expect(isSameVersion("1.0", "1.0.0")).toBe(false);
  });

  it("are ordered as the semver package orders them", () => {
    fc.assert(
      fc.property(generated, generated, (a, b) => {
        const order = semver.compare(a, b);
        expect(Math.sign(compareVersions(a, b))).toBe(order);
        expect(isSameVersion(a, b)).toBe(order === 0);
        const [x = "", y = ""] = [versionKey(a), versionKey(b)];
        expect(x < y ? -1 : x > y ? 1 : 0).toBe(order);
      }),
      { numRuns: 2_000 },
    );
  });

  it("have one order, whatever texts there are", () => {
    const text = fc.oneof(
      generated,
      fc.constantFrom(...odd),
      fc.string({ maxLength: 8, unit: fc.constantFrom("0", "1", "v", ".", "-", "+", "a", "R") }),
    );
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        const between = compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0;
        expect(between && compareVersions(a, c) > 0).toBe(false);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("reported versions", () => {
  const calendar = { version: "2024.8.1", reportedVersions: ["2024.08.1", "34105904", "1.0.0"] };

  it.each([
    ["2024.8.1", true],
    ["v2024.8.1+7", true],
    ["2024.08.1", true],
    ["34105904", true],
    ["v1.0.0+git.abc", true],
    ["2024.8.2", false],
    ["2024.08.01", false],
    ["34105905", false],
    ["", false],
  ])("%j is a report of it: %s", (text, is) => {
    expect(isReportOf(text, calendar)).toBe(is);
  });

  it("say which version a text stands for, before what the text would be by itself", () => {
    const product = new ReportedVersions([calendar, { version: "2024.9.0", reportedVersions: ["34105905"] }]);
    expect(
      ["34105904", "34105905", "1.0.0", "1.0.1", "v2024.9.0", "2024.09.0", ""].map((text) =>
        product.versionOf(text),
      ),
    ).toEqual(["2024.8.1", "2024.9.0", "2024.8.1", "1.0.1", "2024.9.0", undefined, undefined]);
  });
});

const number = fc.oneof(fc.nat(12), fc.constantFrom(100, Number.MAX_SAFE_INTEGER)).map(String);
const identifier = fc.oneof(
  fc.nat(120).map(String),
  fc.constantFrom("a", "rc", "RC", "a-b", "-", "0a", "beta", "x9"),
);
const generated = fc
  .tuple(
    fc.constantFrom("", "v"),
    number,
    number,
    number,
    fc.array(identifier, { maxLength: 3 }),
    fc.constantFrom("", "+b.1"),
  )
  .map(
    ([v, a, b, c, pre, build]) => `${v}${a}.${b}.${c}${pre.length === 0 ? "" : `-${pre.join(".")}`}${build}`,
  );
