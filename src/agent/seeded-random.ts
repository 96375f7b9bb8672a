import { createHash } from "node:crypto";

/**
 * Random numbers in [0, 1) that depend on the texts and nothing else (the generator is sfc32 of PractRand, seeded by
 * SHA-256), so that the same seed tells the same story again.
 */
export function seededRandom(...texts: readonly (string | number)[]): () => number {
  const seed = createHash("sha256").update(JSON.stringify(texts)).digest();
  let a = seed.readInt32LE(0);
  let b = seed.readInt32LE(4);
  let c = seed.readInt32LE(8);
  let counter = 1;
  return () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
}
