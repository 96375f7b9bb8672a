/** What a device is asked to do; acted on once for each id. */
export type Directive = { readonly id: string } & DirectiveAction;

/** A directive that has no id yet. */
export type DirectiveAction =
  | { readonly kind: "update_available"; readonly rolloutId: string }
  | { readonly kind: "cancel_update"; readonly updateId: string; readonly reason: string }
  | { readonly kind: "slow_down"; readonly minIntervalMs: number }
  | { readonly kind: "rotate_token" }
  | { readonly kind: "reconnect"; readonly afterMs: number; readonly reason: string };

/** Whether two directives ask for the same, so that the later one may take the earlier one's place. */
export function asksTheSame(a: Directive, b: Directive): boolean {
  if (a.kind === "update_available" && b.kind === "update_available") return a.rolloutId === b.rolloutId;
  if (a.kind === "cancel_update" && b.kind === "cancel_update") return a.updateId === b.updateId;
  return a.kind === b.kind && a.kind !== "update_available" && a.kind !== "cancel_update";
}
