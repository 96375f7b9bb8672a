import { expect, it } from "vitest";
import { readSignature } from "./read-signature.ts";

const signature = Uint8Array.from({ length: 64 }, (_, at) => 255 - at);
const base64 = btoa(String.fromCharCode(...signature));
const hex = Array.from(signature, (byte) => byte.toString(16).padStart(2, "0")).join("");

it.each([
  ["base64", base64],
  ["base64url", base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")],
  ["base64 over lines", base64.replace(/(.{20})/g, "$1\n")],
  ["hexadecimal", hex.toUpperCase()],
])("reads %s", (_, text) => {
  expect(readSignature(text)).toEqual(signature);
});

it.each(["", "  ", "not a signature!"])("refuses %j", (text) => {
  expect(readSignature(text)).toBeUndefined();
});
