import { useState } from "react";
import type { GetDeviceStatusOverviewResponse } from "../../../gen/ota/v1/device_service_pb.js";
import { presentMoment, type VersionMoment } from "./version-layers.ts";

/** What the page saw of the versions since it was opened, oldest first: a moment each few seconds, and the present. */
export function useSeenMoments(fleet: GetDeviceStatusOverviewResponse): readonly VersionMoment[] {
  const [seen, setSeen] = useState<readonly VersionMoment[]>([]);
  const present = presentMoment(fleet);
  if (present !== undefined && present.atMs > (seen.at(-1)?.atMs ?? 0)) {
    setSeen(withMoment(seen, present));
  }
  return seen;
}

/** The last moment is the present: it moves until it is far enough from the one before. */
function withMoment(seen: readonly VersionMoment[], present: VersionMoment): readonly VersionMoment[] {
  const before = seen.at(-2)?.atMs;
  const isNear = before !== undefined && (seen.at(-1)?.atMs ?? 0) - before < stepMs;
  const kept = isNear ? seen.slice(0, -1) : seen;
  return [...kept, present].slice(-mostMoments);
}

/** A page that is open all day must not grow. An hour of them is enough: then there is the service's own count. */
const mostMoments = 400;
const stepMs = 10_000;
