import { describe, expect, it } from "vitest";
import { conditionsText, type RuleConditions, ruleHolds } from "./grouping-rule.ts";

const any: RuleConditions = { code: "", fault: "", frame: "", message: "" };
const subject = {
  code: "CRASH",
  fault: "java.net.SocketTimeoutException",
  frames: ["com.example.Link.open", "com.example.Agent.main"],
  message: "no answer from broker 7 within 3 s",
};

describe("a grouping rule", () => {
  it.each([
    [{}],
    [{ code: "crash" }],
    [{ fault: "*Timeout*" }],
    [{ fault: "java.net.*" }],
    [{ fault: "*Exception" }],
    [{ frame: "com.example.Agent.*" }],
    [{ message: "no * from * within *" }],
    [{ message: "*" }],
    [{ code: "CRASH", fault: "*socket*", frame: "*.open", message: "*broker*" }],
  ])("holds with %j", (conditions) => {
    expect(ruleHolds({ ...any, ...conditions }, subject)).toBe(true);
  });

  it.each([
    [{ code: "CRAS" }],
    [{ fault: "Timeout" }],
    [{ frame: "com.example.Other.*" }],
    [{ message: "no * from * from *" }],
    [{ message: "*3 s*3 s" }],
    [{ code: "CRASH", message: "*queue*" }],
  ])("does not hold with %j", (conditions) => {
    expect(ruleHolds({ ...any, ...conditions }, subject)).toBe(false);
  });

  it("says its conditions", () => {
    expect(conditionsText({ ...any, fault: "*Timeout*", message: "*broker*" })).toBe(
      "fault *Timeout*, message *broker*",
    );
  });

  it("takes time linear in the text, whatever its pattern", () => {
    const before = process.cpuUsage();
    expect(
      ruleHolds(
        { ...any, message: "*a".repeat(100) },
        { ...subject, message: "a".repeat(99) + "b".repeat(1_000_000) },
      ),
    ).toBe(false);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
  });
});
