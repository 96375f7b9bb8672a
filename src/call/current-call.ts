import { AsyncLocalStorage } from "node:async_hooks";

/** Where a call came from, for the record of what it changes. */
export interface CallSource {
  /** Who calls, as the audit log names callers. */
  readonly actor: string;
  /** The caller's address, without port. */
  readonly address: string;
  readonly requestId: string;
}

const calls = new AsyncLocalStorage<{ readonly source: CallSource; isOver: boolean }>();

/** Runs the work of a call, in which {@link currentCall} knows it. */
export async function duringCall<T>(source: CallSource, work: () => Promise<T>): Promise<T> {
  const call = { source, isOver: false };
  try {
    return await calls.run(call, work);
  } finally {
    call.isOver = true;
  }
}

/** The call that is being served; undefined outside of one, and for what a call has set going and goes on after its answer. */
export function currentCall(): CallSource | undefined {
  const call = calls.getStore();
  return call === undefined || call.isOver ? undefined : call.source;
}
