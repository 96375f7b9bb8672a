import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Mail, SmtpServer, type SmtpSettings } from "../../src/infra/smtp/smtp-server.ts";
import { type KeyPair, TestAuthority } from "../support/certificates.ts";
import { MailServer } from "../support/mail-server.ts";

const mail: Mail = {
  to: "ops@example.com",
  subject: "it is on fire",
  text: "it is on fire",
  html: "<p>it is on fire</p>",
  messageId: "<1@example.com>",
  headers: { "Auto-Submitted": "auto-generated" },
};

let folder: string;
let pair: KeyPair;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-smtp-"));
  const authority = await TestAuthority.create("mail authority");
  pair = await authority.issue({
    subject: [{ CN: ["localhost"] }],
    names: [{ type: "dns", value: "localhost" }],
    usage: "serverAuth",
  });
  await writeFile(join(folder, "ca.pem"), authority.pem);
  await writeFile(join(folder, "password"), "sesame\n");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function smtp(server: MailServer, more: Partial<SmtpSettings> = {}): SmtpServer {
  return new SmtpServer({
    host: "localhost",
    port: server.port,
    tls: "off",
    caFile: join(folder, "ca.pem"),
    login: undefined,
    from: { name: "Device OTA", address: "ota@example.com" },
    timeoutMs: 60_000,
    ...more,
  });
}

function send(server: MailServer, more: Partial<SmtpSettings> = {}, sent = mail) {
  return smtp(server, more).send(sent, AbortSignal.timeout(60_000));
}

const login = () => ({ user: "ota", passwordFile: join(folder, "password") });

describe("an SMTP server", () => {
  it("takes a mail over STARTTLS and over implicit TLS, after a login by the password in the file", async () => {
    for (const tls of ["starttls", "implicit"] as const) {
      await using server = await MailServer.start({ pair, implicit: tls === "implicit", password: "sesame" });
      await smtp(server, { tls, login: login() }).check();
      const outcome = await send(server, { tls, login: login() });
      expect(outcome).toMatchObject({ taken: true, refused: false });
      expect(server.received).toMatchObject([{ to: ["ops@example.com"], secure: true, user: "ota" }]);
      expect(server.received[0]?.headers).toMatchObject({
        from: "Device OTA <ota@example.com>",
        to: "ops@example.com",
        subject: "it is on fire",
        "message-id": "<1@example.com>",
        "auto-submitted": "auto-generated",
      });
    }
  });

  it("that offers no STARTTLS, has another's certificate or takes no login is sent nothing, and is no reason to give up", async () => {
    await using plain = await MailServer.start();
    await using stranger = await MailServer.start({ pair });
    await using withPassword = await MailServer.start({ password: "sesame" });
    const cases = [
      [plain, { tls: "starttls" }, /STARTTLS/],
      [stranger, { tls: "starttls", caFile: undefined }, /certificate/],
      [stranger, { tls: "starttls", host: "127.0.0.1" }, /127\.0\.0\.1/],
      [plain, { login: login() }, /./],
      [withPassword, { login: { ...login(), passwordFile: join(folder, "ca.pem") } }, /wrong password/],
      [plain, { login: { ...login(), passwordFile: join(folder, "none") } }, /no such file/],
    ] as const;
    for (const [server, settings, words] of cases) {
      const outcome = await send(server, settings);
      expect(outcome).toMatchObject({ taken: false, refused: false, words: expect.stringMatching(words) });
      await expect(smtp(server, settings).check()).rejects.toThrow(words);
    }
    expect(await send(withPassword)).toMatchObject({ refused: false, words: expect.stringContaining("530") });
    for (const server of [plain, stranger, withPassword]) expect(server.received).toEqual([]);
  });

  it("refuses for good with 5xx, and for now with 4xx or with no answer", async () => {
    await using server = await MailServer.start();
    server.recipient = (address) =>
      address === "nobody@example.com"
        ? { code: 550, words: "no such user" }
        : address === "grey@example.com"
          ? { code: 451, words: "come back later" }
          : undefined;
    const to = (address: string) => send(server, {}, { ...mail, to: address });
    expect(await to("nobody@example.com")).toMatchObject({
      taken: false,
      refused: true,
      words: expect.stringContaining("550 no such user"),
    });
    expect(await to("grey@example.com")).toMatchObject({
      taken: false,
      refused: false,
      words: expect.stringContaining("451 come back later"),
    });
    server.content = () => ({ code: 554, words: "it looks like spam" });
    expect(await to("ops@example.com")).toMatchObject({ taken: false, refused: true });
    const leave = new AbortController();
    server.content = () => {
      leave.abort();
      return "silent";
    };
    expect(await smtp(server).send(mail, leave.signal)).toMatchObject({ taken: false, refused: false });
  });

  it("gets no header and no recipient that a text smuggles in", async () => {
    await using server = await MailServer.start();
    const evil = "x\r\nBcc: thief@example.com\r\n\r\nRead this instead";
    await send(server, {}, { ...mail, subject: evil, headers: { "List-Id": evil } });
    const [received] = server.received;
    expect(server.asked).toEqual(["ops@example.com"]);
    expect(received?.headers["bcc"]).toBeUndefined();
    expect(received?.source.split("\r\n\r\n")[0]).not.toMatch(/^Bcc:/m);
  });
});
