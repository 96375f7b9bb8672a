import { join } from "node:path";
import type { Config } from "../config.ts";
import { systemClock } from "../infra/clock.ts";
import { LocalObjectStore } from "../infra/objects/local-object-store.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";

/** The store of the settings: a folder, or a bucket, whose client is loaded only where there is one: it takes a twentieth of a start. */
export async function objectStore({ storage, dataDir, outages }: Config): Promise<ObjectStore> {
  if (storage.type === "local") return new LocalObjectStore(storage.basePath, systemClock);
  const { S3ObjectStore } = await import("../infra/objects/s3-object-store.ts");
  const { roleCredentials } = await import("../infra/objects/s3-credentials.ts");
  const {
    endpoint = `https://s3.${storage.region}.amazonaws.com`,
    keys = roleCredentials(),
    ...place
  } = storage;
  return new S3ObjectStore(
    {
      ...place,
      endpoint,
      credentials: keys,
      stagingFolder: join(dataDir, "staging"),
      idleTimeoutMs: outages.storeTimeoutMs,
    },
    systemClock,
  );
}
