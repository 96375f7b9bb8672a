import { join, resolve } from "node:path";
import { choice, flag, foreignSecret, integer, text, textOr, url, type ValuesOf } from "./settings.ts";

/** The settings of the object store. */
export const storageSettings = {
  storageType: choice("STORAGE_TYPE", ["local", "s3"], "local", "Where firmware is kept: `local` or `s3`."),
  storageBasePath: text(
    "STORAGE_BASE_PATH",
    "The folder for firmware with `local` storage; by default `storage/firmware` in the data folder.",
  ),
  s3Bucket: text("STORAGE_S3_BUCKET", "The bucket for firmware; required with `s3` storage."),
  s3Region: textOr("STORAGE_S3_REGION", "us-east-1", "The bucket's region."),
  s3Endpoint: url(
    "STORAGE_S3_ENDPOINT",
    ["https:", "http:"],
    "The object store's URL; by default Amazon S3.",
  ),
  s3AccessKey: text(
    "STORAGE_S3_ACCESS_KEY",
    "The access key of the object store; by default the machine's own role (`AWS_…` variables, web identity, container or instance metadata).",
  ),
  s3SecretKey: foreignSecret("STORAGE_S3_SECRET_KEY", "The secret key of the object store."),
  s3PathStyle: flag(
    "STORAGE_S3_PATH_STYLE",
    true,
    "Whether the bucket stands in the path of a URL, or before the name of the host; at Amazon always the latter.",
  ),
  s3Encryption: choice(
    "STORAGE_S3_ENCRYPTION",
    ["default", "sse-s3", "sse-kms"],
    "default",
    "How the store is asked to encrypt: `sse-s3` by its own key, `sse-kms` by one of its key management, `default` as the bucket is set up.",
  ),
  s3KmsKey: text(
    "STORAGE_S3_KMS_KEY",
    "The key of the key management for `sse-kms`; by default the bucket's.",
  ),
  s3PublicEndpoint: url(
    "STORAGE_S3_PUBLIC_ENDPOINT",
    ["https:", "http:"],
    "The object store's URL for devices, or that of what passes their requests on to it with the same host name; by default that of the service. For rollouts with direct download.",
  ),
  downloadUrlSeconds: integer(
    "DOWNLOAD_URL_SECONDS",
    900,
    [1, 604_800],
    "For how long a device may begin to fetch from the URL of a direct download.",
  ),
};

type StorageValues = ValuesOf<typeof storageSettings>;

/** Where contents are kept, with what is wrong in `faults`. */
export function storageOf(values: StorageValues, dataDir: string, faults: string[]) {
  if (values.storageType === "local") {
    const basePath = values.storageBasePath ?? join(dataDir, "storage", "firmware");
    return { type: "local", basePath: resolve(basePath) } as const;
  }
  if (values.s3Bucket === undefined)
    faults.push(`${storageSettings.s3Bucket.name}: is required with ${storageSettings.storageType.name}=s3`);
  if ((values.s3AccessKey === undefined) !== (values.s3SecretKey === undefined)) {
    const missing =
      values.s3AccessKey === undefined ? storageSettings.s3AccessKey : storageSettings.s3SecretKey;
    faults.push(`${missing.name}: is missing; access key and secret key come together`);
  }
  if (values.s3KmsKey !== undefined && values.s3Encryption !== "sse-kms")
    faults.push(
      `${storageSettings.s3KmsKey.name}: is of use only with ${storageSettings.s3Encryption.name}=sse-kms`,
    );
  for (const { name, value } of [
    { name: storageSettings.s3Endpoint.name, value: values.s3Endpoint },
    { name: storageSettings.s3PublicEndpoint.name, value: values.s3PublicEndpoint },
  ]) {
    // What stands behind would be lost without a word.
    if (value !== undefined && !isBareOrigin(value))
      faults.push(`${name}: must be scheme, host and port alone`);
  }
  return {
    type: "s3",
    bucket: values.s3Bucket ?? "",
    region: values.s3Region,
    /** Undefined: Amazon's own for the region. */
    endpoint: values.s3Endpoint,
    /** For devices; undefined: the same. */
    publicEndpoint: values.s3PublicEndpoint,
    /** Undefined: by the machine's role. */
    keys:
      values.s3AccessKey === undefined || values.s3SecretKey === undefined
        ? undefined
        : { accessKey: values.s3AccessKey, secretKey: values.s3SecretKey },
    pathStyle: values.s3PathStyle,
    encryption: encryptionOf(values),
  } as const;
}

function encryptionOf({ s3Encryption, s3KmsKey }: StorageValues) {
  if (s3Encryption === "default") return undefined;
  return s3Encryption === "sse-s3"
    ? ({ kind: "sse-s3" } as const)
    : ({ kind: "sse-kms", keyId: s3KmsKey } as const);
}

function isBareOrigin(url: string): boolean {
  const { origin, href } = new URL(url);
  return href === `${origin}/`;
}
