import type { EntityManager } from "@mikro-orm/postgresql";
import { OtaError } from "../errors.ts";
import { uniqueViolation } from "../infra/database/errors.ts";
import { versionIdentity } from "../version/version-key.ts";
import { withDeleted } from "./firmware-rows.ts";
import { FirmwareUpdateEntity } from "./firmware-update.entity.ts";
import { FirmwareVersionKeyEntity } from "./firmware-version-key.entity.ts";

/** The texts that a firmware claims for itself within its product. */
export interface VersionClaims {
  readonly id?: string;
  readonly product: string;
  readonly version: string;
  readonly reportedVersions: readonly string[];
}

/**
 * What to throw where the database refused a firmware: `DUPLICATE` if one of the texts that it claims names another one of its
 * product, with the field that does; else the error itself.
 */
export async function versionClaimFault(
  em: EntityManager,
  error: unknown,
  claims: VersionClaims,
): Promise<unknown> {
  const { id, product, version, reportedVersions } = claims;
  const violated = uniqueViolation(error);
  if (violated === "firmware_updates_product_version_unique") return duplicate(product, version, error);
  if (violated !== "firmware_version_keys_pkey") return error;
  const texts = [version, ...reportedVersions];
  const keys = await em.find(FirmwareVersionKeyEntity, {
    product,
    identity: { $in: texts.map(versionIdentity) },
  });
  const key = keys.find(({ firmwareId }) => firmwareId !== id);
  const owner = key && (await em.findOne(FirmwareUpdateEntity, { id: key.firmwareId }, withDeleted));
  // Whoever held it may have let it go since.
  if (key === undefined || !owner) return duplicate(product, version, error);
  const at = texts.findIndex((text) => versionIdentity(text) === key.identity);
  return ambiguous(product, texts[at] ?? "", { at, version: owner.version }, error);
}

/** Text `at` of a firmware, 0 for its version, names the firmware of another version as well. */
function ambiguous(
  product: string,
  text: string,
  other: { readonly at: number; readonly version: string },
  cause: unknown,
): OtaError {
  const description = `"${text}" names version ${other.version} of ${product}: a text that devices report stands for one version`;
  const field = other.at === 0 ? "version" : `reported_versions[${other.at - 1}]`;
  return new OtaError("already_exists", "DUPLICATE", `${field}: ${description}`, {
    fields: [{ field, description }],
    metadata: { product, version: other.version, reported_version: text },
    cause,
  });
}

function duplicate(product: string, version: string, cause: unknown): OtaError {
  return new OtaError(
    "already_exists",
    "DUPLICATE",
    `${product} has a firmware with version ${version} already`,
    {
      metadata: { product, version },
      cause,
    },
  );
}
