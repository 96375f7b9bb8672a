import { cppName } from "./cpp-names.ts";
import { isPanicMachinery } from "./microcontroller.ts";
import { isSystemCall } from "./native-system.ts";
import type { Frame } from "./stack.ts";

/** A frame whose address a symbol file named. */
export function namedFrame(name: string, wasInApp: boolean): Frame {
  const symbol = cppName(name) || name;
  const isSystem = isSystemCall({ name: symbol, module: "", path: "" }) || isPanicMachinery(symbol);
  return { symbol, inApp: wasInApp && !isSystem };
}
