import type { BootSighting } from "../device/state/boot-sighting.ts";
import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { StreamHello } from "./stream-hello.ts";

/** The boot of a device that opens a stream. */
export function bootOfHello({ deviceId, bootId }: StreamHello, now: Date): BootSighting {
  return { deviceId, bootId, atMs: now.getTime(), startedAtMs: undefined, beginsStream: true };
}

/**
 * The boot under which a device made its newest heartbeat; undefined if the batch has none that shows how the device is now: what was
 * made under an earlier boot, and waited, is no sign that this one lives.
 */
export function bootOfBatch(
  records: readonly DurableHeartbeat[],
  hello: StreamHello | undefined,
): BootSighting | undefined {
  const newest = records.at(-1);
  if (newest === undefined || newest.backlog === true) return undefined;
  const { deviceId, bootId, uptimeMs, sequence, receivedAt } = newest;
  if (hello !== undefined && hello.bootId !== "" && bootId !== hello.bootId) return undefined;
  // Without a number and an uptime nothing tells when it was made.
  if (uptimeMs === 0 && sequence === 0) return undefined;
  const atMs = receivedAt.getTime();
  return {
    deviceId,
    bootId,
    atMs,
    startedAtMs: uptimeMs === 0 ? undefined : atMs - uptimeMs,
    beginsStream: hello !== undefined,
  };
}
