import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { connectionTo, parseServer } from "./connection.ts";

const ca = fileURLToPath(new URL("../../test/api/fixtures/localhost-certificate.pem", import.meta.url));

describe("parseServer", () => {
  it.each([
    ["127.0.0.1:50051", { address: "127.0.0.1:50051", host: "127.0.0.1", tls: false }],
    ["ota.example.com", { address: "ota.example.com:50051", host: "ota.example.com", tls: false }],
    ["https://ota.example.com:443/", { address: "ota.example.com:443", host: "ota.example.com", tls: true }],
    ["[::1]:9000", { address: "[::1]:9000", host: "[::1]", tls: false }],
  ])("reads %s", (text, expected) => {
    expect(parseServer(text)).toEqual(expected);
  });

  it.each(["", "host:", "host:99999", "http://host/path", "a b:1", "::1"])("refuses %j", (text) => {
    expect(() => parseServer(text)).toThrow(/--server/);
  });
});

describe("connectionTo", () => {
  it.each(["127.0.0.1:1", "localhost", "http://[::1]:9000"])(
    "reaches this machine at %s in clear",
    async (server) => {
      const { channelCredentials } = await connectionTo({ server });
      expect(channelCredentials._isSecure()).toBe(false);
    },
  );

  it.each(["ota.example.com", "http://ota.example.com:50051", "10.0.0.1:50051", "127.0.0.1.example.com"])(
    "refuses to reach %s in clear, unless told",
    async (server) => {
      await expect(connectionTo({ server })).rejects.toThrow("in clear");
      const { channelCredentials } = await connectionTo({ server, insecure: true });
      expect(channelCredentials._isSecure()).toBe(false);
    },
  );

  it("reaches https:// by TLS, with authorities of the user's own", async () => {
    const server = "https://ota.example.com";
    for (const options of [{ server }, { server, ca }]) {
      expect((await connectionTo(options)).channelCredentials._isSecure()).toBe(true);
    }
  });

  it("shows a certificate of the device's own, and refuses half of one or another's key", async () => {
    const https = { server: "https://ota.example.com" };
    const key = ca.replace("certificate", "key");
    expect((await connectionTo(https, { cert: ca, key })).channelCredentials._isSecure()).toBe(true);
    await expect(connectionTo(https, { cert: ca })).rejects.toThrow("come together");
    await expect(connectionTo(https, { cert: ca, key: ca })).rejects.toThrow("cannot be read");
    await expect(connectionTo({ server: "127.0.0.1" }, { cert: ca, key })).rejects.toThrow("no TLS without");
  });

  it.each([
    [{ server: "https://ota.example.com", insecure: true }, "--insecure"],
    [{ server: "127.0.0.1", ca }, "no TLS without https://"],
    [{ server: "https://ota.example.com", ca: fileURLToPath(import.meta.url) }, "holds no certificate"],
    [{ server: "https://ota.example.com", ca: "/none.pem" }, "ENOENT"],
  ])("refuses %j", async (options, message) => {
    await expect(connectionTo(options)).rejects.toThrow(message);
  });
});
