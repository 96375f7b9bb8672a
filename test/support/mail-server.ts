import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { SMTPServer } from "smtp-server";
import type { KeyPair } from "./certificates.ts";

/** A mail as the server was given it. */
export interface ReceivedMail {
  readonly to: readonly string[];
  /** By name in small letters, unfolded. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it came over the line. */
  readonly source: string;
  /** What is to be read in it, without HTML. */
  readonly text: string;
  /** Whether the connection was encrypted. */
  readonly secure: boolean;
  readonly user: string | undefined;
}

/** An answer of an SMTP server that takes nothing. */
export interface SmtpRefusal {
  readonly code: number;
  readonly words: string;
}

/** What an SMTP server of a test asks and offers. */
export interface MailServerOptions {
  /** Without it there is no TLS. */
  readonly pair?: KeyPair;
  /** Whether TLS comes first; otherwise by STARTTLS. */
  readonly implicit?: boolean;
  /** Without it nobody needs to log in, nor can. */
  readonly password?: string;
}

/** An SMTP server, which takes mails as the test says. */
export class MailServer implements AsyncDisposable {
  readonly received: ReceivedMail[] = [];
  /** Every address that a mail was meant for, taken or not. */
  readonly asked: string[] = [];
  /** What it says to a recipient; undefined: it takes mails for that one. */
  recipient: (address: string) => SmtpRefusal | undefined = () => undefined;
  /** What it says to a mail that it was given; `silent`: nothing. */
  content: (mail: ReceivedMail) => SmtpRefusal | "silent" | undefined = () => undefined;
  readonly #server: SMTPServer;

  /** On a free port, or again on one that it had. */
  static async start(options: MailServerOptions = {}, port = 0): Promise<MailServer> {
    const server = new MailServer(options);
    server.#server.listen(port, "127.0.0.1");
    await once(server.#server.server, "listening");
    return server;
  }

  private constructor({ pair, implicit = false, password }: MailServerOptions) {
    const disabledCommands = [...(pair ? [] : ["STARTTLS"]), ...(password === undefined ? ["AUTH"] : [])];
    this.#server = new SMTPServer({
      ...(pair && { key: pair.key, cert: pair.certificate }),
      secure: implicit,
      disabledCommands,
      // In clear too, so that a client that would send its password there is found out.
      allowInsecureAuth: true,
      authOptional: password === undefined,
      logger: false,
      disableReverseLookup: true,
      closeTimeout: 1,
      onAuth: (login, _, callback) => {
        if (login.password === password) callback(null, { user: login.username ?? "" });
        else callback(new Error("wrong password"));
      },
      onRcptTo: ({ address }, _, callback) => {
        this.asked.push(address);
        callback(refusalError(this.recipient(address)));
      },
      onData: (stream, session, callback) => {
        const given = (source: string) => {
          const mail = {
            to: session.envelope.rcptTo.map(({ address }) => address),
            headers: headersOf(source),
            source,
            text: textOf(source),
            secure: session.secure,
            user: typeof session.user === "string" ? session.user : undefined,
          };
          const answer = this.content(mail);
          if (answer === undefined) this.received.push(mail);
          if (answer !== "silent") callback(refusalError(answer));
        };
        // A client that ends the connection before its mail does has sent none.
        text(stream).then(given, () => undefined);
      },
    });
    // A client that ends a connection in the middle, or sees no certificate that it trusts.
    this.#server.on("error", () => undefined);
  }

  get port(): number {
    return (this.#server.server.address() as AddressInfo).port;
  }

  /** The mails that were taken for an address. */
  of(address: string): ReceivedMail[] {
    return this.received.filter(({ to }) => to.includes(address));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

function refusalError(refusal: SmtpRefusal | undefined): Error | undefined {
  return refusal && Object.assign(new Error(refusal.words), { responseCode: refusal.code });
}

function headersOf(source: string): Record<string, string> {
  const [head = ""] = source.split("\r\n\r\n", 1);
  const lines = head.replace(/\r\n[ \t]+/g, " ").split("\r\n");
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

/** The part that is plain text. */
function textOf(source: string): string {
  const boundary = /boundary="(?<boundary>[^"]+)"/.exec(source)?.groups?.["boundary"] ?? "";
  const part =
    source.split(`--${boundary}`).find((each) => /^\r\nContent-Type: text\/plain/i.test(each)) ?? "";
  const [head = "", ...body] = part.split("\r\n\r\n");
  const content = body.join("\r\n\r\n");
  if (/encoding: base64/i.test(head)) return Buffer.from(content, "base64").toString();
  if (!/encoding: quoted-printable/i.test(head)) return content;
  const bytes = content
    .replace(/=\r\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
