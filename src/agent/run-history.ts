import { isSameVersion } from "../version/compare-versions.ts";

/** A version that has run on this device. */
export interface PastRun {
  /** The application whose version it is; empty for the device's firmware. */
  readonly component: string;
  readonly version: string;
}

/** Whose firmware the device runs, as the first signed manifest said that was taken. */
export interface KnownProduct {
  readonly component: string;
  readonly product: string;
}

/** Adds what runs now, newest last; of each component the oldest versions are forgotten. The same history if it is in it. */
export function withRun(history: readonly PastRun[], { component, version }: PastRun): readonly PastRun[] {
  if (hasRun(history, { component, version })) return history;
  const ofThis = history.filter((run) => run.component === component);
  const oldest = ofThis.length < maxRemembered ? undefined : ofThis[0];
  return [...history.filter((run) => run !== oldest), { component, version }];
}

/** Whether this device ran that version before, or runs it now. */
export function hasRun(history: readonly PastRun[], { component, version }: PastRun): boolean {
  return history.some((run) => run.component === component && isSameVersion(run.version, version));
}

/** Adds the product of a component; the one that is known already stays. */
export function withProduct(
  known: readonly KnownProduct[],
  { component, product }: KnownProduct,
): readonly KnownProduct[] {
  return productOf(known, component) === undefined ? [...known, { component, product }] : known;
}

/** The product of a component, if it is known. */
export function productOf(known: readonly KnownProduct[], component: string): string | undefined {
  return known.find((entry) => entry.component === component)?.product;
}

/** How many versions of one component are remembered. */
const maxRemembered = 64;
