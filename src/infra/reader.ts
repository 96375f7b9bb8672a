import { AsyncLocalStorage } from "node:async_hooks";

/** Whoever waits for what is read. */
export interface Reader {
  /** Aborts when nobody waits any more. */
  readonly signal: AbortSignal;
}

const readings = new AsyncLocalStorage<{ readonly reader: Reader; isOver: boolean } | undefined>();

/**
 * Runs work that reads for one caller and changes nothing: its statements end in the database when the caller leaves. What is set
 * going on the way and goes on after its end is nobody's.
 */
export async function readingFor<T>(reader: Reader, work: () => Promise<T>): Promise<T> {
  const reading = { reader, isOver: false };
  try {
    return await readings.run(reading, work);
  } finally {
    reading.isOver = true;
  }
}

/** Runs what several callers may wait for, so that it does not end because the one who happened to begin it has left. */
export function forEverybody<T>(work: () => T): T {
  return readings.run(undefined, work);
}

/** Whom the statements here are for alone; undefined where they are for several, or change something. */
export function currentReader(): Reader | undefined {
  const reading = readings.getStore();
  return reading === undefined || reading.isOver ? undefined : reading.reader;
}
