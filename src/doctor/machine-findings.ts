import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { type Finding, reasonOf } from "./finding.ts";

/** Looks whether the store takes and gives objects. */
export async function storeFinding(store: ObjectStore, { storage }: Config): Promise<Finding> {
  const subject = "store";
  const place = storage.type === "local" ? storage.basePath : `bucket ${storage.bucket}`;
  try {
    await store.check(AbortSignal.timeout(storeTimeoutMs));
    return { subject, verdict: "ok", message: `${place} can be used` };
  } catch (error) {
    return {
      subject,
      verdict: "fault",
      message: `${place}: ${reasonOf(error)}`,
      remedy:
        storage.type === "local"
          ? "make the folder writable for the service's user, with room on its disk"
          : "check DEVICE_OTA_STORAGE_S3_ENDPOINT, …_BUCKET, …_REGION and the keys",
    };
  }
}

/** Looks at the room where the service writes. */
export async function diskFindings({ dataDir, storage }: Config): Promise<Finding[]> {
  const folders = new Set([dataDir, ...(storage.type === "local" ? [storage.basePath] : []), tmpdir()]);
  return await Promise.all([...folders].map(diskFinding));
}

async function diskFinding(folder: string): Promise<Finding> {
  const subject = "disk";
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const probe = join(folder, `probe-${randomUUID()}`);
    await writeFile(probe, "probe");
    await rm(probe);
    const { bavail, bsize, blocks, files, ffree } = await statfs(folder);
    const freeMb = Math.floor((bavail * bsize) / mebibyte);
    const message = `${folder} has ${freeMb} MB free, ${Math.floor((100 * bavail) / blocks)} %`;
    // File systems without a fixed number of files say 0.
    if (files > 0 && ffree < leastFiles) {
      const remedy = "remove small files: none can be made otherwise";
      return { subject, verdict: "warning", message: `${folder} has room for ${ffree} more files`, remedy };
    }
    const remedy = "make room, or move the data folder to a larger disk: a full one stops all writing";
    if (freeMb < leastMb) return { subject, verdict: "fault", message, remedy };
    if (freeMb < soonFullMb) return { subject, verdict: "warning", message, remedy };
    return { subject, verdict: "ok", message };
  } catch (error) {
    return {
      subject,
      verdict: "fault",
      message: `${folder} cannot be written: ${reasonOf(error)}`,
      remedy: "make it writable for the service's user; a missing mount looks like this too",
    };
  }
}

/** Looks at how many files and connections a process may have open. */
export async function descriptorFinding(): Promise<Finding> {
  const subject = "open files";
  const text = await readFile("/proc/self/limits", "utf8").catch(() => "");
  // Node.js raises its soft limit to the hard one when it starts.
  const columns = text.split("\n").find((line) => line.startsWith("Max open files"));
  const hard = Number(columns?.split(/ {2,}/)[2]);
  const limit = Number.isNaN(hard) ? Number.POSITIVE_INFINITY : hard;
  if (limit >= wantedDescriptors) {
    const message = Number.isFinite(limit) ? `up to ${limit}` : "no limit that can be read";
    return { subject, verdict: "ok", message };
  }
  return {
    subject,
    verdict: "warning",
    message: `at most ${limit}, one for each device that streams`,
    remedy: `raise the limit to ${wantedDescriptors} and more: LimitNOFILE= of the systemd unit, or --ulimit nofile of the container`,
  };
}

const storeTimeoutMs = 10_000;
const mebibyte = 1024 * 1024;

/** PostgreSQL needs a WAL segment of 16 MB at once, an upload as much as it is large. */
const leastMb = 200;
const soonFullMb = 2_000;
const leastFiles = 10_000;

/** For 50,000 streams with some room. */
const wantedDescriptors = 65_536;
