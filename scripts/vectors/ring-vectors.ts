import { bucketOfHash, murmur3, placeOf, sampleOf } from "../../src/rollout/model/bucket.ts";

/** Where a device falls in a rollout. */
interface RingVector {
  readonly salt: string;
  readonly deviceId: string;
  /** MurmurHash3 (x86, 32 bit, seed 0) of `<salt>:<device id>`. */
  readonly hash: number;
  readonly bucket: number;
  readonly place: number;
  readonly sample: number;
}

/** Salts and devices with their places, which never change. */
export function ringVectors(): { about: string; places: RingVector[] } {
  const salts = ["01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"];
  const devices = [
    "00000000-0000-7000-8000-000000000000",
    "01890a5d-ac96-774b-bcce-b302099a0001",
    "01890a5d-ac96-774b-bcce-b302099a0002",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
  ];
  return {
    about:
      "hash is MurmurHash3_x86_32 (seed 0) of '<salt>:<deviceId>'; bucket is hash mod 10,000; place adds two digits to it; sample is (hash div 10,000) mod 10,000. A ring of p percent holds the places below 100 p.",
    places: salts.flatMap((salt) =>
      devices.map((deviceId) => {
        const hash = murmur3(`${salt}:${deviceId}`);
        const [place, sample] = [placeOf(salt, deviceId), sampleOf(salt, deviceId)];
        return { salt, deviceId, hash, bucket: bucketOfHash(hash), place, sample };
      }),
    ),
  };
}
