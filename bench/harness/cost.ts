import type { MeasuredProcess } from "./measured-process.ts";
import type { PostgresCpu } from "./postgres-cpu.ts";
import { timed } from "./timing.ts";

/** What some work cost. */
export interface Cost {
  readonly milliseconds: number;
  /** CPU time of the service's process, in microseconds. */
  readonly serviceMicros: number;
  /** CPU time of PostgreSQL's processes, in microseconds. */
  readonly postgresMicros: number;
}

/** Runs `work` and says what the service and its database used meanwhile. */
export async function costOf(
  { product, postgres }: { readonly product: MeasuredProcess<unknown>; readonly postgres: PostgresCpu },
  work: () => Promise<unknown>,
): Promise<Cost> {
  let milliseconds = 0;
  let postgresMicros = 0;
  const serviceMicros = await product.cpuDuring(async () => {
    postgresMicros = await postgres.during(async () => {
      milliseconds = await timed(work);
    });
  });
  return { milliseconds, serviceMicros, postgresMicros };
}
