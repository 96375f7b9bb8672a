/**
 * Preloaded into a process, it lets a test set the wall clock that the process sees: by as many milliseconds as stand in the file
 * that {@link file} names. What is monotonic goes on, as when somebody sets the clock of a machine.
 */

import { readFileSync } from "node:fs";

const file = process.env["TEST_CLOCK_FILE"] ?? "";

const MachineDate = Date;
let aheadMs = 0;

function look(): void {
  aheadMs = Number(readFileSync(file, "utf8"));
}

const now = (): number => MachineDate.now() + aheadMs;

look();
setInterval(look, 50).unref();
globalThis.Date = new Proxy(MachineDate, {
  get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver)),
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: (target) => new target(now()).toString(),
});
