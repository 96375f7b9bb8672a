import { expect, it } from "vitest";
import { isLoopback } from "./loopback.ts";

it.each([
  "127.0.0.1",
  "127.8.8.8",
  "::1",
  "[::1]",
  "0:0:0:0:0:0:0:1",
  "::ffff:127.0.0.1",
  "localhost",
  "ota.localhost",
])("%s is this machine", (host) => {
  expect(isLoopback(host)).toBe(true);
});

it.each([
  "0.0.0.0",
  "::",
  "[::]",
  "10.0.0.1",
  "::ffff:10.0.0.1",
  "ota.example.com",
  "127.0.0.1.example.com",
  "localhost.example.com",
  "",
])("%j is not, or not alone", (host) => {
  expect(isLoopback(host)).toBe(false);
});
