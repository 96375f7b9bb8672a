import type { FieldViolation } from "../errors.ts";

/** A value of a heartbeat that could not be read: it is of another type than its field. */
export interface UnreadValue extends FieldViolation {
  /** What the device sent, as far as that can be told. */
  readonly value: unknown;
}

/** What could not be read of one heartbeat. */
export interface Unread {
  /** Set if the heartbeat as a whole could not be read: there is nothing to be kept but its sequence. */
  readonly refusal?: FieldViolation;
  /** Values without which it was read. */
  readonly values: readonly UnreadValue[];
}

/**
 * The most values of one heartbeat that are looked at one by one, so that a message of millions costs others nothing. The contract
 * allows for some 150.
 */
export const maxSalvagedValues = 512;

/** Keeps with a message's heartbeats what could not be read of them, by their place. */
export function rememberUnread(heartbeats: readonly object[], unread: ReadonlyMap<number, Unread>): void {
  unreadOfMessages.set(heartbeats, unread);
}

/** What could not be read of a message's heartbeats, by their place; undefined for a message that was whole. */
export function unreadOf(heartbeats: readonly object[]): ReadonlyMap<number, Unread> | undefined {
  return unreadOfMessages.get(heartbeats);
}

const unreadOfMessages = new WeakMap<readonly object[], ReadonlyMap<number, Unread>>();
