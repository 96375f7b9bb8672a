/** Buckets that devices are spread over: a bucket is a hundredth of a percent. */
export const bucketCount = 10_000;

/** Parts of a bucket, so that a ring can end at a number of devices in a large fleet, too. */
export const placesPerBucket = 100;

/**
 * The place of a device in a rollout, from 0 to below 10,000: its bucket, which is MurmurHash3 (x86, 32 bit, seed 0) of
 * `<salt>:<device id>` modulo 10,000, with two digits more, which come from the highest ones of the hash. Each rollout
 * has a salt of its own, so that not the same devices are canaries each time. It never changes for a pair, so widening a share
 * keeps every device that was in. Same scheme as Unleash's gradual rollout
 * (https://docs.getunleash.io/reference/stickiness), which normalises to 100.
 */
export function placeOf(salt: string, deviceId: string): number {
  return placeOfHash(murmur3(`${salt}:${deviceId}`)) / placesPerBucket;
}

/** See {@link placeOf}, as a whole number: in parts of a bucket. */
export function placeOfHash(hash: number): number {
  const part = Math.floor((Math.floor(hash / bucketCount) * placesPerBucket) / valuesPerBucket);
  return bucketOfHash(hash) * placesPerBucket + part;
}

/** Of the 2^32 values of the hash, those that fall in one bucket, at most. */
const valuesPerBucket = 429_497;

/**
 * The place of a device in the sample of a rollout that is for a share of the fleet, 0 to 9,999: the digits of the same
 * hash above those of the bucket, so that the rings of the sample keep their shares.
 */
export function sampleOf(salt: string, deviceId: string): number {
  return sampleOfHash(murmur3(`${salt}:${deviceId}`));
}

/** The bucket, 0 to 9,999: the whole part of {@link placeOf}. */
export function bucketOfHash(hash: number): number {
  return hash % bucketCount;
}

/** See {@link sampleOf}. */
export function sampleOfHash(hash: number): number {
  return Math.floor(hash / bucketCount) % bucketCount;
}

/**
 * The index of the first ring whose share holds the place, or -1 if no ring does. `percentBasisPoints` must not fall from
 * ring to ring; each includes the ones before it.
 */
export function ringOf(place: number, rings: readonly { readonly percentBasisPoints: number }[]): number {
  return rings.findIndex(({ percentBasisPoints }) => place < percentBasisPoints);
}

/**
 * The hash that {@link placeOf} and {@link sampleOf} take their digits of, for very many devices of one rollout: what
 * its salt, a UUID in text, contributes is worked out once, and a device's id is never put into a text. The
 * returned function takes bytes and where in them the 16 of a device's id begin.
 */
export function deviceHashes(salt: string): (ids: Uint8Array, at: number) => number {
  let begun = 0;
  for (let at = 0; at < uuidLength; at += 4) begun = mix(begun, block(salt, at));
  const pair = (ids: Uint8Array, at: number): number => hexPairs[ids[at] ?? 0] ?? 0;
  // The blocks of `:xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`: a byte's two digits may lie in two of them.
  return (ids, at) => {
    let left = pair(ids, at + 1);
    let hash = mix(begun, colon | (pair(ids, at) << 8) | (left << 24));
    let right = pair(ids, at + 3);
    hash = mix(hash, (left >>> 8) | (pair(ids, at + 2) << 8) | (right << 24));
    hash = mix(hash, (right >>> 8) | (dash << 8) | (pair(ids, at + 4) << 16));
    left = pair(ids, at + 6);
    hash = mix(hash, pair(ids, at + 5) | (dash << 16) | (left << 24));
    hash = mix(hash, (left >>> 8) | (pair(ids, at + 7) << 8) | (dash << 24));
    hash = mix(hash, pair(ids, at + 8) | (pair(ids, at + 9) << 16));
    left = pair(ids, at + 11);
    hash = mix(hash, dash | (pair(ids, at + 10) << 8) | (left << 24));
    right = pair(ids, at + 13);
    hash = mix(hash, (left >>> 8) | (pair(ids, at + 12) << 8) | (right << 24));
    left = pair(ids, at + 15);
    hash = mix(hash, (right >>> 8) | (pair(ids, at + 14) << 8) | (left << 24));
    return finish(hash ^ scramble(left >>> 8), 2 * uuidLength + 1);
  };
}

const uuidLength = 36;
const colon = ":".charCodeAt(0);
const dash = "-".charCodeAt(0);

/** The two digits of each byte, the first one in the low bits, as a block has them. */
const hexPairs = Uint16Array.from({ length: 256 }, (_, byte) => {
  const text = byte.toString(16).padStart(2, "0");
  return text.charCodeAt(0) | (text.charCodeAt(1) << 8);
});

/**
 * MurmurHash3_x86_32 with seed 0 over the low bytes of the text's UTF-16 units: right for ASCII, which ids are. After
 * Austin Appleby's public-domain reference (https://github.com/aappleby/smhasher, MurmurHash3.cpp).
 */
export function murmur3(text: string): number {
  const length = text.length;
  const blocksEnd = length & ~3;
  let hash = 0;
  for (let at = 0; at < blocksEnd; at += 4) hash = mix(hash, block(text, at));
  let tail = 0;
  for (let at = length - 1; at >= blocksEnd; at--) tail = (tail << 8) | (text.charCodeAt(at) & 0xff);
  if (blocksEnd < length) hash ^= scramble(tail);
  return finish(hash, length);
}

function block(text: string, at: number): number {
  return (
    (text.charCodeAt(at) & 0xff) |
    ((text.charCodeAt(at + 1) & 0xff) << 8) |
    ((text.charCodeAt(at + 2) & 0xff) << 16) |
    (text.charCodeAt(at + 3) << 24)
  );
}

function mix(hash: number, next: number): number {
  const mixed = hash ^ scramble(next);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(mixed: number, length: number): number {
  let hash = mixed ^ length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(next: number): number {
  const mixed = Math.imul(next, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
