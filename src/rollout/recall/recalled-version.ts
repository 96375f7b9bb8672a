import { invalidArgument, notFound, type OtaError } from "../../errors.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { isReportOf } from "../../version/reported-versions.ts";
import { canonicalVersion } from "../../version/semantic-version.ts";

/** Names a version: by its firmware, or where the catalogue need not have it, by product and version. */
export type VersionName =
  | { readonly firmwareId: string }
  | { readonly product: string; readonly version: string };

/** A version that is or may be recalled. */
export interface NamedVersion {
  readonly product: string;
  /** As the firmware has it, or in canonical form; a text that is no semantic version as it is. */
  readonly version: string;
  /** Undefined if the catalogue does not have it. */
  readonly firmware: CatalogueVersion | undefined;
}

/** The firmware of a version. */
interface CatalogueVersion {
  readonly id: string;
  readonly product: string;
  readonly component: string;
  readonly version: string;
  readonly reportedVersions: readonly string[];
  readonly deviceTypes: readonly string[];
  readonly hardwareModels: readonly string[];
}

/** Finds the version that is named. `NOT_FOUND` for an id that no firmware in the catalogue has. */
export async function readVersion(session: Session, name: VersionName): Promise<NamedVersion> {
  const byId = "firmwareId" in name;
  const [firmware] = await session.query<CatalogueVersion>(
    byId ? byIdSql : byTextSql,
    byId ? [name.firmwareId] : [name.product, name.version],
  );
  if (firmware !== undefined) return { product: firmware.product, version: firmware.version, firmware };
  if (byId) throw notFound("firmware", name.firmwareId);
  if (name.version.includes("\0") || !name.version.isWellFormed()) {
    throw invalidArgument("version", "must be well-formed text without the character NUL");
  }
  return {
    product: name.product,
    version: canonicalVersion(name.version) ?? name.version,
    firmware: undefined,
  };
}

/**
 * Checks that a firmware can take the place of a version: `INVALID_REQUEST` unless it is another version of the same product, and of
 * the same component as far as that is known.
 */
export function assertReplaces(replacement: Firmware, { product, version, firmware }: NamedVersion): void {
  if (replacement.product !== product) {
    throw unfit(`must be a firmware of ${product}, and is one of ${replacement.product}`);
  }
  if (firmware !== undefined && firmware.component !== replacement.component) {
    throw unfit("must update the same application, or the firmware, as the version that it replaces");
  }
  if (replacement.id === firmware?.id || isReportOf(version, replacement)) {
    throw unfit("must be another version than the one that is recalled");
  }
}

function unfit(description: string): OtaError {
  return invalidArgument("replacement_id", description);
}

const columns = sql`f.id, f.product, f.component, f.version, f.reported_versions AS "reportedVersions",
  f.device_types AS "deviceTypes", f.hardware_models AS "hardwareModels"`;

const byIdSql = sql`SELECT ${columns} FROM firmware_updates f WHERE f.id = $1::uuid AND NOT f.is_deleted`;

const byTextSql = sql`
  SELECT ${columns} FROM firmware_version_keys k JOIN firmware_updates f ON f.id = k.firmware_id
  WHERE k.product = $1 AND k.identity = version_identity($2)`;
