import { readFile } from "node:fs/promises";
import type { MailAddress } from "../../mail-address.ts";

/** The server that takes the service's mails, as the settings say. */
export interface SmtpSettings {
  readonly host: string;
  readonly port: number;
  /** `implicit`: TLS from the first byte; `starttls`: before anything else is said, and without it nothing is; `off`: in clear. */
  readonly tls: "implicit" | "starttls" | "off";
  /** Authorities beside those that Node.js knows, PEM. */
  readonly caFile: string | undefined;
  readonly login: { readonly user: string; readonly passwordFile: string } | undefined;
  readonly from: MailAddress;
  /** For a mail, from the connection to the server's word that it has it. */
  readonly timeoutMs: number;
}

/** A mail to one address, so that what becomes of it is one thing. */
export interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** With the angle brackets. */
  readonly messageId: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What became of a mail. */
export interface MailOutcome {
  readonly taken: boolean;
  /** Whether the server refused this very mail for good (5xx); not what is about the login or the connection. */
  readonly refused: boolean;
  /** In words, with what the server said. */
  readonly words: string;
}

/** Gives mails to an SMTP server (RFC 5321), over a connection for each: they are few. */
export class SmtpServer {
  readonly #settings: SmtpSettings;

  constructor(settings: SmtpSettings) {
    this.#settings = settings;
  }

  /** Sends a mail. Never rejects. */
  async send(mail: Mail, signal: AbortSignal): Promise<MailOutcome> {
    try {
      const transport = await this.#transport();
      const { response } = await transport.sendMail({
        ...mail,
        from: this.#settings.from,
        // Nothing in a mail names a file or a URL to attach; the library would fetch it.
        disableFileAccess: true,
        disableUrlAccess: true,
        signal,
      });
      return { taken: true, refused: false, words: `the server took it: ${shortened(response)}` };
    } catch (error) {
      if (signal.aborted) return { taken: false, refused: false, words: "the server did not answer in time" };
      return { taken: false, refused: isRefusal(error), words: wordsOf(error) };
    }
  }

  /** Connects, greets and logs in, and sends nothing. Rejects with what is wrong. */
  async check(): Promise<void> {
    try {
      await (await this.#transport()).verify();
    } catch (error) {
      throw new Error(wordsOf(error), { cause: undefined });
    }
  }

  /** The library is loaded here and not before, and the files are read anew: a password that was changed counts at once. */
  async #transport() {
    const { host, port, tls, caFile, login, timeoutMs } = this.#settings;
    const { createTransport } = await import("nodemailer");
    const password = login && (await readFile(login.passwordFile, "utf8")).replace(/\r?\n$/, "");
    return createTransport({
      host,
      port,
      secure: tls === "implicit",
      requireTLS: tls === "starttls",
      ignoreTLS: tls === "off",
      tls: { minVersion: "TLSv1.2", ...(caFile === undefined ? {} : { ca: await readFile(caFile) }) },
      // Without this a server that offers no login would be sent the mail anyway.
      ...(login === undefined ? {} : { forceAuth: true, auth: { user: login.user, pass: password ?? "" } }),
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      dnsTimeout: timeoutMs,
    });
  }
}

/** What the library says of a failure. */
interface SmtpFailure extends Error {
  readonly permanent?: boolean;
  readonly responseCode?: number;
  /** What the server answered to, for example `RCPT TO`. */
  readonly command?: string;
}

/** Whether it is this mail that the server wants never; a login that is missing or wrong is for the operator to mend. */
function isRefusal(error: unknown): boolean {
  const { permanent = false, responseCode = 0, command = "" } = error as SmtpFailure;
  return permanent && ["MAIL FROM", "RCPT TO", "DATA"].includes(command) && !loginCodes.has(responseCode);
}

function wordsOf(error: unknown): string {
  return shortened(error instanceof Error ? error.message : String(error));
}

function shortened(text: string): string {
  return text
    .replace(/\p{C}+/gu, " ")
    .trim()
    .slice(0, maxWords);
}

/** RFC 4954: a login is needed, a stronger one, it failed, or it needs encryption. */
const loginCodes = new Set([530, 534, 535, 538]);

const maxWords = 300;
