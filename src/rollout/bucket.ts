/** Buckets that devices are spread over: a bucket is a hundredth of a percent. */
export const bucketCount = 10_000;

/**
 * The bucket of a device in a rollout, 0 to 9,999: MurmurHash3 (x86, 32 bit, seed 0) of `<rollout id>:<device id>`,
 * modulo 10,000. The rollout's id is the salt, so that not the same devices are canaries each time. It never changes for
 * a pair, so widening a share keeps every device that was in. Same scheme as Unleash's gradual rollout
 * (https://docs.getunleash.io/reference/stickiness), which normalises to 100.
 */
export function bucketOf(rolloutId: string, deviceId: string): number {
  return murmur3(`${rolloutId}:${deviceId}`) % bucketCount;
}

/**
 * The index of the first ring whose share holds the bucket, or -1 if no ring does. `percentBasisPoints` must rise from
 * ring to ring; each includes the ones before it.
 */
export function ringOf(bucket: number, rings: readonly { readonly percentBasisPoints: number }[]): number {
  return rings.findIndex(({ percentBasisPoints }) => bucket < percentBasisPoints);
}

/**
 * MurmurHash3_x86_32 with seed 0 over the low bytes of the text's UTF-16 units: right for ASCII, which ids are. After
 * Austin Appleby's public-domain reference (https://github.com/aappleby/smhasher, MurmurHash3.cpp).
 */
export function murmur3(text: string): number {
  const length = text.length;
  const blocksEnd = length & ~3;
  let hash = 0;
  for (let at = 0; at < blocksEnd; at += 4) {
    hash ^= scramble(
      (text.charCodeAt(at) & 0xff) |
        ((text.charCodeAt(at + 1) & 0xff) << 8) |
        ((text.charCodeAt(at + 2) & 0xff) << 16) |
        (text.charCodeAt(at + 3) << 24),
    );
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = length - 1; at >= blocksEnd; at--) tail = (tail << 8) | (text.charCodeAt(at) & 0xff);
  if (blocksEnd < length) hash ^= scramble(tail);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
