/**
 * How long to wait before the next try: half a second, doubling to 15 s, with full jitter in the upper half, so that all
 * open consoles do not come back in the same moment. `random` is in 0..1.
 */
export function backOffMs(failures: number, random: number): number {
  const most = Math.min(firstMs * 2 ** Math.max(failures, 0), mostMs);
  return most / 2 + (most / 2) * random;
}

const firstMs = 500;
const mostMs = 15_000;
