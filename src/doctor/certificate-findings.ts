import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Config } from "../config.ts";
import { type Finding, reasonOf } from "./finding.ts";

/** Looks at the ports' certificate. */
export async function certificateFindings({ tls, host }: Pick<Config, "tls" | "host">): Promise<Finding[]> {
  const subject = "certificate";
  if (tls === undefined)
    return [{ subject, verdict: "ok", message: `none: the ports are in clear, on ${host}` }];
  try {
    const certificate = new X509Certificate(await readFile(tls.certFile));
    const key = createPrivateKey(await readFile(tls.keyFile));
    if (!certificate.checkPrivateKey(key)) {
      return [
        {
          subject,
          verdict: "fault",
          message: `the key in ${tls.keyFile} is not the one of the certificate in ${tls.certFile}`,
          remedy: "put the certificate (with its chain, its own first) and the key of the same issue there",
        },
      ];
    }
    return [validity(certificate)];
  } catch (error) {
    return [
      {
        subject,
        verdict: "fault",
        message: `certificate or key cannot be used: ${reasonOf(error)}`,
        remedy: "see to it that both are PEM files that the service's user can read",
      },
    ];
  }
}

function validity(certificate: X509Certificate): Finding {
  const subject = "certificate";
  const days = Math.floor((certificate.validToDate.getTime() - Date.now()) / dayMs);
  const until = certificate.validToDate.toISOString();
  const remedy = "renew it; the service reads the new files by itself (docs/operations.md, Renewal)";
  if (certificate.validFromDate.getTime() > Date.now()) {
    const from = certificate.validFromDate.toISOString();
    return { subject, verdict: "fault", message: `not valid before ${from}`, remedy: "set the clock right" };
  }
  if (days < 0) return { subject, verdict: "fault", message: `ended at ${until}`, remedy };
  if (days < daysBefore) return { subject, verdict: "warning", message: `ends at ${until}`, remedy };
  return { subject, verdict: "ok", message: `valid until ${until}` };
}

/** As the service's log warns. */
const daysBefore = 14;

const dayMs = 24 * 3_600_000;
