import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { isPublic, requireWebhookUrl } from "./webhook-address.ts";
import { postWebhook } from "./webhook-post.ts";

const hidden = [
  "127.0.0.1",
  "127.255.0.1",
  "10.1.2.3",
  "172.31.0.1",
  "192.168.1.1",
  "169.254.169.254",
  "100.64.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "255.255.255.255",
  "::1",
  "::",
  "::ffff:127.0.0.1",
  "::ffff:a00:1",
  "64:ff9b::a00:1",
  "2002:a00:1::1",
  "fd00::1",
  "fe80::1",
  "ff02::1",
];

describe("addresses of webhooks", () => {
  it("that are not the internet's are known", () => {
    expect(hidden.filter(isPublic)).toEqual([]);
    expect(
      ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"].filter((each) => !isPublic(each)),
    ).toEqual([]);
  });

  it.each([
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:7f00:1]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "http://example.com/",
    "ftp://example.com/",
    "https://user:secret@example.com/",
    "nothing",
  ])("are refused in %s", (url) => {
    expect(() => requireWebhookUrl(url, false)).toThrow(/^url: /);
  });

  it("are looked at when a name is connected to, and nothing is connected", async () => {
    let connections = 0;
    const server = createServer().on("connection", () => connections++);
    await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
    const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
    const signal = AbortSignal.timeout(30_000);
    const outcome = await postWebhook(url, { body: "{}", headers: {} }, { allowPrivate: false, signal });
    await new Promise((resolve) => server.close(resolve));
    expect(outcome.delivered).toBe(false);
    expect(outcome.words).toMatch(/^localhost is at \S+, which is not public$/);
    expect(connections).toBe(0);
  });
});
