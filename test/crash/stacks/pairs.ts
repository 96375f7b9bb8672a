import { describe, expect, it } from "vitest";
import { type Fingerprint, fingerprintOf } from "../../../src/crash/fingerprint.ts";
import type { StackKind } from "../../../src/crash/stacks/stack.ts";

/** Two reports with a name of what they are about. */
type Pair = readonly [label: string, one: string, other: string];

/** Reports of one kind of stack. */
export interface Pairs {
  readonly kind: StackKind;
  /** One fault, of other builds, runs, places or loggers. */
  readonly same: readonly Pair[];
  /** Two faults that look alike. */
  readonly different: readonly Pair[];
}

/** Tests that stacks of one fault come together, and that others do not. */
export function testPairs({ kind, same, different }: Pairs): void {
  describe(`${kind} stacks`, () => {
    it.each(same)("are one group: %s", (_, one, other) => {
      const [a, b] = [ofStack(one), ofStack(other)];
      expect(b.groupedBy).toBe(a.groupedBy);
      expect(b).toEqual(a);
      expect(a.stackKind).toBe(kind);
    });

    it.each(different)("are two groups: %s", (_, one, other) => {
      const [a, b] = [ofStack(one), ofStack(other)];
      expect(b.groupedBy).not.toBe(a.groupedBy);
      expect(b.sha256).not.toBe(a.sha256);
      expect([a.stackKind, b.stackKind]).toEqual([kind, kind]);
    });
  });
}

function ofStack(stack: string): Fingerprint {
  return fingerprintOf({ code: "CRASH", message: "it crashed", stack });
}
