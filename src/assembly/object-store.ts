import { join } from "node:path";
import type { Config } from "../config.ts";
import { systemClock } from "../infra/clock.ts";
import { LocalObjectStore } from "../infra/objects/local-object-store.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { S3ObjectStore } from "../infra/objects/s3-object-store.ts";

/** The store of the settings: a folder, or a bucket. */
export function objectStore({ storage, dataDir }: Config): ObjectStore {
  if (storage.type === "local") return new LocalObjectStore(storage.basePath, systemClock);
  return new S3ObjectStore(
    {
      endpoint: storage.endpoint ?? `https://s3.${storage.region}.amazonaws.com`,
      bucket: storage.bucket,
      accessKey: storage.accessKey ?? "",
      secretKey: storage.secretKey ?? "",
      region: storage.region,
      stagingFolder: join(dataDir, "staging"),
    },
    systemClock,
  );
}
