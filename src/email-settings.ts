import { resolve } from "node:path";
import { isLoopback } from "./loopback.ts";
import { isMailAddress, type MailAddress } from "./mail-address.ts";
import { choice, integer, type Setting, SettingFault, setting, text, type ValuesOf } from "./settings.ts";

/** The settings of the mail server, and of the mails that tell of events. */
export const emailSettings = {
  smtpHost: text("SMTP_HOST", "The SMTP server that takes e-mails; without it none can be sent."),
  smtpPort: integer(
    "SMTP_PORT",
    0,
    [0, 65_535],
    "Its port; 0 is the usual one: 465 with `implicit` TLS, 587 with `starttls`, 25 with `off`.",
  ),
  smtpTls: choice(
    "SMTP_TLS",
    ["starttls", "implicit", "off"],
    "starttls",
    "How the connection to it is encrypted: `implicit` from the first byte, `starttls` before anything is said, or not at all. A server that does not offer it is sent nothing.",
  ),
  smtpCa: text(
    "SMTP_CA_FILE",
    "PEM file with the authorities that vouch for its certificate; by default those that Node.js knows.",
  ),
  smtpUser: text("SMTP_USER", "As whom to log in; without it nobody does."),
  smtpPasswordFile: text(
    "SMTP_PASSWORD_FILE",
    "The file with the user's password, which is read for each mail.",
  ),
  smtpFrom: mailbox(
    "SMTP_FROM",
    "Whom e-mails are from, and where they come back to that cannot be delivered: `ota@example.com` or `Device OTA <ota@example.com>`; required with a server.",
  ),
  smtpMaxConnections: integer(
    "SMTP_MAX_CONNECTIONS",
    2,
    [1, 100],
    "The most connections to it at once, per replica.",
  ),
  smtpTimeoutSeconds: integer(
    "SMTP_TIMEOUT_SECONDS",
    60,
    [1, 600],
    "How long it may take until it has a mail, in seconds.",
  ),
  emailGatherSeconds: integer(
    "EMAIL_GATHER_SECONDS",
    60,
    [1, 86_400],
    "The time between two e-mails of one webhook, in seconds: what happens meanwhile comes in one.",
  ),
  emailMaxEvents: integer("EMAIL_MAX_EVENTS", 200, [1, 1_000], "The most events that one e-mail tells of."),
  publicUrl: webAddress(
    "PUBLIC_URL",
    "Where people reach the console, such as `https://ota.example.com`, for links in e-mails; without it there are none.",
  ),
};

/** What the settings say of e-mails; undefined without a server. */
export function emailOf(values: ValuesOf<typeof emailSettings>, faults: string[]) {
  const { smtpHost: host, smtpTls: tls, smtpUser: user, smtpPasswordFile: passwordFile } = values;
  if (host === undefined) {
    for (const key of ["smtpUser", "smtpPasswordFile", "smtpFrom"] as const) {
      if (values[key] !== undefined)
        faults.push(`${emailSettings[key].name}: says nothing without ${emailSettings.smtpHost.name}`);
    }
    return undefined;
  }
  if (values.smtpFrom === undefined)
    faults.push(`${emailSettings.smtpFrom.name}: is required with ${emailSettings.smtpHost.name}`);
  if ((user === undefined) !== (passwordFile === undefined)) {
    const missing = user === undefined ? emailSettings.smtpUser : emailSettings.smtpPasswordFile;
    faults.push(`${missing.name}: is missing; user and password come together`);
  }
  if (tls === "off" && user !== undefined && !isLoopback(host))
    faults.push(
      `${emailSettings.smtpTls.name}: off would send the password in clear, and ${host} is beyond this machine`,
    );
  return {
    server: {
      host,
      port: values.smtpPort === 0 ? usualPorts[tls] : values.smtpPort,
      tls,
      caFile: values.smtpCa && resolve(values.smtpCa),
      login:
        user === undefined || passwordFile === undefined
          ? undefined
          : { user, passwordFile: resolve(passwordFile) },
      from: values.smtpFrom ?? { name: "", address: "" },
      timeoutMs: values.smtpTimeoutSeconds * 1_000,
    },
    maxConnections: values.smtpMaxConnections,
    gatherMs: values.emailGatherSeconds * 1_000,
    maxEvents: values.emailMaxEvents,
    publicUrl: values.publicUrl,
  };
}

/** RFC 8314, RFC 6409 and RFC 5321. */
const usualPorts = { implicit: 465, starttls: 587, off: 25 };

/** An address, with or without a name before it. */
function mailbox(name: string, meaning: string): Setting<MailAddress | undefined> {
  return setting(name, "", meaning, (value) => {
    if (value === "") return undefined;
    const named = /^(?<name>[^<>\p{C}]*)<(?<address>[^<>]*)>$/u.exec(value)?.groups;
    const address = named?.["address"] ?? value;
    if (!isMailAddress(address))
      throw new SettingFault("must be an address such as ota@example.com or Device OTA <ota@example.com>");
    return { name: (named?.["name"] ?? "").trim().replace(/^"(.*)"$/, "$1"), address };
  });
}

/** A URL that pages stand below, without a slash at the end. */
function webAddress(name: string, meaning: string): Setting<string | undefined> {
  return setting(name, "", meaning, (value) => {
    if (value === "") return undefined;
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const { protocol = "", username = "", password = "", search = "", hash = "" } = url ?? {};
    if (!/^https?:$/.test(protocol) || `${username}${password}${search}${hash}` !== "")
      throw new SettingFault("must be a URL that begins with https:// or http://, without user or query");
    return url?.href.replace(/\/$/, "");
  });
}
