import type { Targets } from "@tufjs/models";
import type { ReadSession } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { TufTarget } from "../../tuf/tuf-making.ts";
import { invalid } from "../../tuf/tuf-metadata.ts";
import { recalledFirmwareSql } from "../recalls.ts";

/** The firmware of a product that targets metadata may name: released, not deleted and not recalled, in the order of release. */
export async function releaseList(session: ReadSession, product: string): Promise<TufTarget[]> {
  const rows = await session.query<ReleaseRow>(releasesSql, [product]);
  return rows.map(({ version, sizeBytes, sha256, component, manifestSha256 }) => ({
    path: version,
    sizeBytes,
    sha256,
    custom: { product, component, version, manifest_sha256: manifestSha256 },
  }));
}

/**
 * Checks that each target is a firmware of the list, as the list has it: `TUF_METADATA_INVALID` names the first that is not. Signers
 * may leave firmware out, and may not bring in what nobody released.
 */
export function assertReleased({ targets }: Targets, releases: readonly TufTarget[]): void {
  const known = new Map(releases.map((release) => [release.path, release]));
  for (const [path, { length, hashes, custom }] of Object.entries(targets)) {
    const release = known.get(path);
    if (release === undefined)
      throw invalid("targets", `${JSON.stringify(path)} is no released version, or is recalled or deleted`);
    const { sha256, ...otherHashes } = hashes;
    if (length !== release.sizeBytes || sha256 !== release.sha256 || Object.keys(otherHashes).length > 0)
      throw invalid(
        "targets",
        `${path} must have the size and the SHA-256 of its content, and no other hash`,
      );
    for (const [name, value] of Object.entries(release.custom)) {
      if (custom[name] !== value)
        throw invalid("targets", `${path} must have ${JSON.stringify(value)} as custom.${name}`);
    }
  }
}

interface ReleaseRow {
  readonly version: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly component: string;
  readonly manifestSha256: string;
}

const releasesSql = sql`
  SELECT version, size_bytes::float8 AS "sizeBytes", sha256, component,
         coalesce(encode(sha256(manifest), 'hex'), '') AS "manifestSha256"
    FROM firmware_updates
   WHERE product = $1 AND state = 'RELEASED' AND NOT is_deleted AND id NOT IN ${recalledFirmwareSql}
   ORDER BY released_at, id`;
