import { describe, expect, it } from "vitest";
import { completeFilter, quoted } from "./complete-filter.ts";

const known = { device_type: ["thermostat", "gate way"], groups: ["berlin"] };

/** Completes at the `|`. */
function complete(marked: string) {
  const caret = marked.indexOf("|");
  const filter = marked.replace("|", "");
  const { from, to, choices } = completeFilter(filter, caret, known);
  return { replaces: filter.slice(from, to), choices: choices.map(({ text }) => text) };
}

describe("completeFilter()", () => {
  it.each([
    ["|", "presence"],
    ["pres|", "presence"],
    ["presence = ONLINE AND bat|", "battery_percent"],
    ["(|", "device_type"],
    ["presence |", "="],
    ["battery_percent |", "<"],
    ["presence = |", "ONLINE"],
    ["presence = OFF|", "OFFLINE"],
    ["charging = |", "true"],
    ["last_seen_time < |", "ago(1d)"],
    ["device_type = |", "thermostat"],
    ["device_type = gate|", '"gate way"'],
    ['device_type = "gate w|', '"gate way"'],
    ["groups:|", "berlin"],
    ["presence = ONLINE |", "AND"],
    ["groups:berlin O|", "OR"],
    ["NOT |", "presence"],
  ])("offers at %s", (marked, choice) => {
    expect(complete(marked).choices).toContain(choice);
  });

  it.each([
    ["presence = ONLINE |", "presence"],
    ["presence |", "presence"],
    ["presence = |", "presence"],
    ["NOT |", "NOT"],
    ["presence = ONLINE|", "ONLINE"],
  ])("does not offer at %s", (marked, choice) => {
    expect(complete(marked).choices).not.toContain(choice);
  });

  it("replaces the whole word in which the caret stands", () => {
    expect(complete("pre|sence = ONLINE").replaces).toBe("presence");
    expect(complete("presence = O|N AND charging = true").replaces).toBe("ON");
    expect(complete("presence = |ONLINE").replaces).toBe("");
  });

  it("writes values so that they are read as they are", () => {
    expect(quoted("tx-200")).toBe("tx-200");
    expect(quoted("1.2.0")).toBe('"1.2.0"');
    expect(quoted('a "b" *')).toBe(String.raw`"a \"b\" \*"`);
  });
});
