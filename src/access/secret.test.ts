import { describe, expect, it } from "vitest";
import { hashSecret, newSecret, secretKey, secretKeyOf, secretKindOf } from "./secret.ts";

describe("secrets", () => {
  it("are 256 random bits behind a prefix that says what they open", () => {
    expect(newSecret("operator").text).toMatch(/^ota_op_[\w-]{43}$/);
    expect(newSecret("device").text).toMatch(/^ota_dev_[\w-]{43}$/);
    expect(newSecret("enrolment").text).toMatch(/^ota_enrol_[\w-]{43}$/);
    const texts = new Set(Array.from({ length: 100 }, () => newSecret("device").text));
    expect(texts.size).toBe(100);
  });

  it("are known by their SHA-256 in the database and in memory", () => {
    expect(hashSecret("abc").toString("hex")).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    const { text, hash } = newSecret("device");
    expect(hashSecret(text)).toEqual(hash);
    expect(secretKeyOf(hash)).toBe(secretKey(text));
    expect(Buffer.from(secretKey(text), "latin1")).toEqual(hash);
  });

  it("tell their kind, or that they were chosen", () => {
    expect(secretKindOf(newSecret("enrolment").text)).toBe("enrolment");
    expect(secretKindOf("correct-horse-battery")).toBeUndefined();
  });
});
