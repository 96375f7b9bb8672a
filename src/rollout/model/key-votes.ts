import type { StoredPolicy } from "./rollout.entity.ts";
import type { KeyCounters } from "./rollout.ts";
import type { RingCounters } from "./rollout-counters.ts";

/**
 * A ring as it would be without the devices of one enrolment key; undefined if fewer than `failureMinSample` others are in
 * it, who could not say much.
 *
 * Whoever holds an enrolment key can enrol devices of his own making, as many as he likes (a Sybil attack: J. R. Douceur,
 * "The Sybil Attack", IPTPS 2002), so a count of devices proves nothing against him, and neither does a share of them. What
 * he cannot do is to speak for devices of another key. So a decision must stand without the devices of any one key, as a
 * statistic that has to survive leaving out its most influential group (the delete-a-group jackknife; P. S. Kott, "The
 * Delete-a-Group Jackknife", Journal of Official Statistics 17(4), 2001): the devices of one key alone neither take a fleet
 * back nor carry an update to it, however many there are.
 */
export function withoutKey<Judged extends { readonly counters: RingCounters }>(
  ring: Judged,
  key: KeyCounters,
  { failureMinSample }: Pick<StoredPolicy, "failureMinSample">,
): Judged | undefined {
  const { counters } = ring;
  const offered = counters.offered - key.offered;
  if (offered < failureMinSample) return undefined;
  return {
    ...ring,
    counters: {
      ...counters,
      offered,
      succeeded: counters.succeeded - key.succeeded,
      failed: counters.failed - key.failed,
      began: counters.began - key.began,
      missing: counters.missing - key.missing,
      drifted: counters.drifted - key.drifted,
    },
  };
}
