import { readFile } from "node:fs/promises";
import { InvalidArgumentError } from "commander";
import type { RequiredSignatures } from "../manifest/required-signatures.ts";
import type { TrustedKey } from "../manifest/verify-manifest.ts";

/** How many keys of each role a device asks for, at most. */
const maxRequired = 16;

/** `2`, or by role `release=2`, `release=1,security=1`. */
export function parseRequiredSignatures(text: string): RequiredSignatures {
  const counts = text.split(",").map((part) => /^(?:(release|security)=)?(\d{1,2})$/.exec(part.trim()));
  const pairs = counts.flatMap((match) =>
    match === null ? [] : [[match[1] ?? "total", Number(match[2])] as const],
  );
  const byRole: Partial<Record<string, number>> = Object.fromEntries(pairs);
  const { release = 0, security = 0 } = byRole;
  const total = Math.max(byRole["total"] ?? 0, release + security);
  const clear = pairs.length === counts.length && Object.keys(byRole).length === pairs.length;
  if (!clear || total < 1 || total > maxRequired) {
    throw new InvalidArgumentError(
      `Write a count from 1 to ${maxRequired}, or such as release=1,security=1.`,
    );
  }
  return { total, release, security };
}

/** Reads the keys of `--trusted-key`: a file with a release key, or `release=FILE` or `security=FILE`. */
export async function readTrustedKeys(options: readonly string[]): Promise<TrustedKey[]> {
  return await Promise.all(
    options.map(async (option) => {
      const [, role, file = option] = /^(release|security)=(.+)$/.exec(option) ?? [];
      return {
        publicKeyPem: await readFile(file, "utf8"),
        role: role === "security" ? "security" : "release",
      } satisfies TrustedKey;
    }),
  );
}
