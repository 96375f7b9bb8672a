import type { Config } from "../config.ts";
import { SmtpServer } from "../infra/smtp/smtp-server.ts";
import { type Finding, reasonOf } from "./finding.ts";

/** Looks whether the server that takes e-mails lets the service in. Sends nothing. */
export async function mailFinding({ email }: Pick<Config, "email">): Promise<Finding> {
  const subject = "e-mail";
  if (email === undefined)
    return { subject, verdict: "ok", message: "none is sent: DEVICE_OTA_SMTP_HOST is not set" };
  const { host, port, tls, login } = email.server;
  const place = `${host}:${port} (TLS: ${tls})`;
  try {
    await new SmtpServer(email.server).check();
    const entered = login === undefined ? "without a login" : `as ${login.user}`;
    return { subject, verdict: "ok", message: `${place} lets the service in ${entered}` };
  } catch (error) {
    return {
      subject,
      verdict: "fault",
      message: `${place}: ${reasonOf(error)}`,
      remedy: "check DEVICE_OTA_SMTP_HOST, …_PORT, …_TLS, …_CA_FILE, …_USER and the password's file",
    };
  }
}
