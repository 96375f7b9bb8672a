import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  GetDeviceStatusOverviewResponse,
  QueryVersionHistoryResponse,
} from "../../../gen/ota/v1/device_service_pb.js";
import { compareVersions } from "../../version/compare-versions.ts";

/** How many devices ran which version at some time. */
export interface VersionMoment {
  readonly atMs: number;
  readonly versions: ReadonlyMap<string, number>;
  /** Those of versions that are not listed. */
  readonly other: number;
  readonly unknown: number;
}

/** One layer of the drawing: a version, or what is drawn together. */
export interface VersionLayer {
  readonly name: string;
  readonly kind: "version" | "other" | "unknown";
  /** Devices at each of the times; null where nobody counted. */
  readonly counts: readonly (number | null)[];
}

/** Layers above each other, all with a value at each of the times. */
export interface VersionLayers {
  readonly times: readonly number[];
  /** Oldest version first. */
  readonly layers: readonly VersionLayer[];
}

/** The moments of an answer of the service. */
export function historyMoments({ versions, points }: QueryVersionHistoryResponse): VersionMoment[] {
  return points.flatMap(({ countTime, deviceCounts, otherCount, unknownCount }) =>
    countTime === undefined
      ? []
      : [
          {
            atMs: timestampMs(countTime),
            versions: new Map(
              versions.map((version, index) => [version, Number(deviceCounts[index] ?? 0n)] as const),
            ),
            other: Number(otherCount),
            unknown: Number(unknownCount),
          },
        ],
  );
}

/** The present, as the fleet's counters have it. */
export function presentMoment(fleet: GetDeviceStatusOverviewResponse): VersionMoment | undefined {
  if (fleet.countTime === undefined) return undefined;
  const versions = new Map(fleet.firmwareVersions.map(({ name, count }) => [name, Number(count)] as const));
  let unknown = Number(fleet.totalCount);
  for (const devices of versions.values()) unknown -= devices;
  return { atMs: timestampMs(fleet.countTime), versions, other: 0, unknown: Math.max(unknown, 0) };
}

/**
 * Lays moments out as layers. Versions beyond those that most devices ran are drawn together. Where nobody counted for
 * longer than `gapMs` there is a hole.
 */
export function versionLayers(moments: readonly VersionMoment[], gapMs: number): VersionLayers {
  const ordered = moments.toSorted((a, b) => a.atMs - b.atMs);
  const most = new Map<string, number>();
  for (const { versions } of ordered) {
    for (const [version, devices] of versions) most.set(version, Math.max(most.get(version) ?? 0, devices));
  }
  const shown = [...most]
    .filter(([, devices]) => devices > 0)
    .toSorted(([a, x], [b, y]) => y - x || compareVersions(b, a))
    .slice(0, mostVersions)
    .map(([version]) => version)
    .toSorted(compareVersions);
  const drawn = ordered.flatMap((moment, index): readonly (VersionMoment | { readonly atMs: number })[] => {
    const before = ordered[index - 1];
    const isGap = before !== undefined && moment.atMs - before.atMs > gapMs;
    return isGap ? [{ atMs: before.atMs + 1 }, moment] : [moment];
  });
  const layer = (
    name: string,
    kind: VersionLayer["kind"],
    of: (moment: VersionMoment) => number,
  ): VersionLayer => ({
    name,
    kind,
    counts: drawn.map((moment) => ("versions" in moment ? of(moment) : null)),
  });
  const rest = ({ versions, other }: VersionMoment) =>
    versions
      .entries()
      .reduce((sum, [version, devices]) => sum + (shown.includes(version) ? 0 : devices), other);
  return {
    times: drawn.map(({ atMs }) => atMs),
    layers: [
      ...shown.map((version) => layer(version, "version", ({ versions }) => versions.get(version) ?? 0)),
      ...[layer("others", "other", rest), layer("not told yet", "unknown", ({ unknown }) => unknown)].filter(
        ({ counts }) => counts.some((devices) => devices !== null && devices > 0),
      ),
    ],
  };
}

/** One colour less than there are, for the others. */
const mostVersions = 6;
