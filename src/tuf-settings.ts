import { flag, integer } from "./settings.ts";

/** The settings of TUF metadata. */
export const tufSettings = {
  tufTimestampHours: integer(
    "TUF_TIMESTAMP_HOURS",
    24,
    [1, 720],
    "How long the timestamp of TUF metadata holds, in hours, and so how long a device can be kept from news unnoticed; signed anew at half of it.",
  ),
  tufSnapshotDays: integer(
    "TUF_SNAPSHOT_DAYS",
    7,
    [1, 90],
    "How long the snapshot of TUF metadata holds, in days; signed anew at half of it.",
  ),
  tufPublic: flag(
    "TUF_PUBLIC",
    false,
    "Whether TUF metadata over HTTP needs no credential; it says which versions there are, their sizes and digests.",
  ),
};

/** How TUF metadata is signed and served. */
export function tufOf(values: {
  readonly tufTimestampHours: number;
  readonly tufSnapshotDays: number;
  readonly tufPublic: boolean;
}) {
  return {
    lifetimes: {
      timestampMs: values.tufTimestampHours * 3_600_000,
      snapshotMs: values.tufSnapshotDays * 86_400_000,
    },
    public: values.tufPublic,
  };
}
