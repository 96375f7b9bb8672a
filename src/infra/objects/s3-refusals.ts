import { S3Error } from "minio";
import { OtaError } from "../../errors.ts";

/** A refusal that waiting does not mend, in words. Without names: anybody may ask whether the service is ready. */
export function refusalOf(error: unknown): OtaError | undefined {
  if (!(error instanceof S3Error)) return undefined;
  const why = refusals.get(error.code ?? "");
  if (why === undefined) return undefined;
  return new OtaError("unavailable", "STORAGE_UNAVAILABLE", `the object store ${why} (${error.code})`, {
    cause: error,
  });
}

const refusals: ReadonlyMap<string, string> = new Map([
  ["NoSuchBucket", "has no bucket of that name: look at DEVICE_OTA_STORAGE_S3_BUCKET"],
  ["InvalidBucketName", "takes no bucket of that name: look at DEVICE_OTA_STORAGE_S3_BUCKET"],
  ["InvalidAccessKeyId", "does not know the access key: look at DEVICE_OTA_STORAGE_S3_ACCESS_KEY"],
  ["SignatureDoesNotMatch", "does not take the secret key: look at DEVICE_OTA_STORAGE_S3_SECRET_KEY"],
  ["AccessDenied", "does not let the access key write to the bucket: look at its rights"],
  ["AuthorizationHeaderMalformed", "is in another region: look at DEVICE_OTA_STORAGE_S3_REGION"],
  ["PermanentRedirect", "has the bucket in another region: look at DEVICE_OTA_STORAGE_S3_REGION"],
  ["RequestTimeTooSkewed", "does not take the time of this machine: look at its clock"],
]);
