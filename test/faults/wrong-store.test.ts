import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startSwift, swiftIsInstalled } from "../support/swift.ts";
import { ServiceProcess } from "./service-process.ts";

it.runIf(swiftIsInstalled())(
  "a service with the wrong bucket or key starts, says at once what is wrong, and is not ready",
  async () => {
    await using swift = await startSwift();
    await using database = await createTestDatabase();
    const settings = {
      DEVICE_OTA_STORAGE_TYPE: "s3",
      DEVICE_OTA_STORAGE_S3_ENDPOINT: swift.endpoint,
      DEVICE_OTA_STORAGE_S3_BUCKET: "no-such-bucket",
      DEVICE_OTA_STORAGE_S3_ACCESS_KEY: swift.accessKey,
      DEVICE_OTA_STORAGE_S3_SECRET_KEY: swift.secretKey,
    };
    const faults = [
      [{}, /has no bucket of that name: look at DEVICE_OTA_STORAGE_S3_BUCKET/],
      [{ DEVICE_OTA_STORAGE_S3_SECRET_KEY: "wrong" }, /does not take the secret key: look at DEVICE_OTA_/],
    ] as const;
    for (const [wrong, words] of faults) {
      await using service = await ServiceProcess.start(database.url, { ...settings, ...wrong });
      expect(service.log).toMatch(words);
      expect(service.log).toContain('"bucket":"no-such-bucket"');
      await eventually(async () => {
        const health = await fetch(`${service.httpUrl}/health/ready`);
        expect([health.status, await health.json()]).toMatchObject([
          503,
          { checks: { database: "ok", store: expect.stringMatching(words) } },
        ]);
      });
    }
  },
);
