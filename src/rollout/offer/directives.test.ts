import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { announcedPerTick, announceTickMs, UpdateAnnouncer } from "./directives.ts";

function announcerFor(devices: number) {
  const told: string[] = [];
  const announcer = new UpdateAnnouncer({
    sender: {
      connectedDevices: () => Array.from({ length: devices }, (_, at) => `d${at}`),
      updateAvailable: (deviceId) => told.push(deviceId) > 0,
      cancelUpdate: () => false,
    },
    waitingFor: (deviceId) => (deviceId.endsWith("0") ? "rollout" : undefined),
  });
  return { announcer, told };
}

describe("UpdateAnnouncer", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("tells those for whom something waits, some at a time", () => {
    const { announcer, told } = announcerFor(announcedPerTick * 3);
    announcer.announce();
    expect(told).toHaveLength(announcedPerTick / 10);
    vi.advanceTimersByTime(announceTickMs);
    expect(told).toHaveLength((announcedPerTick / 10) * 2);
    vi.advanceTimersByTime(announceTickMs * 10);
    expect(told).toHaveLength((announcedPerTick / 10) * 3);
  });

  it("goes through all once more if asked meanwhile, and stops when closed", () => {
    const { announcer, told } = announcerFor(announcedPerTick + 10);
    announcer.announce();
    announcer.announce();
    announcer.announce();
    vi.advanceTimersByTime(announceTickMs * 10);
    expect(told).toHaveLength(((announcedPerTick + 10) / 10) * 2);
    announcer.announce();
    announcer.close();
    vi.advanceTimersByTime(announceTickMs * 10);
    expect(told).toHaveLength(((announcedPerTick + 10) / 10) * 2 + announcedPerTick / 10);
  });
});
