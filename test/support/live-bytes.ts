import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a full collection leaves of this process' memory, buffers too. */
export function liveBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
