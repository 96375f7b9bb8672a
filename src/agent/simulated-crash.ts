import { Severity } from "../../gen/ota/v1/heartbeat_pb.js";
import { seededRandom } from "./seeded-random.ts";
import type { ErrorNote } from "./sensors.ts";

/**
 * The report of a crash as a boot loader that saved the core, a runtime or the kernel's log would make it. A version has one
 * fault that most of its crashes are of, and rarer others; lines depend on the version, addresses and process ids on the
 * boot, as on real devices.
 */
export function simulatedCrash(version: string, random: () => number): ErrorNote {
  const ofVersion = seededRandom("faults of", version);
  const usual = Math.floor(ofVersion() * faults.length);
  const index = random() < rareShare ? Math.floor(random() * faults.length) : usual;
  const fault = faults[index] ?? nativeFault;
  const firstLine = 20 + Math.floor(seededRandom("lines of", version)() * 200);
  const crash = fault({
    line: (offset) => String(firstLine + offset),
    address: () => `0x0000${hex(random, 0x5500, 0x56ff)}${hex(random, 0x10000000, 0xffffffff)}`,
    pid: String(300 + Math.floor(random() * 30_000)),
    number: (most) => String(Math.floor(random() * most)),
  });
  return {
    severity: Severity.CRITICAL,
    fatal: true,
    ...crash,
    context: { build: version, uptime_minutes: String(Math.floor(random() * 600)), ...crash.context },
  };
}

/** Of the crashes of a version those that are not its usual one. */
const rareShare = 0.15;

/** What differs from one crash to the next. */
interface Particulars {
  readonly line: (offset: number) => string;
  readonly address: () => string;
  readonly pid: string;
  readonly number: (most: number) => string;
}

type Fault = (of: Particulars) => ErrorNote;

const nativeFault: Fault = ({ line, address }) => ({
  code: "SIGSEGV",
  message: `segmentation fault at ${address()} in the control loop`,
  stack: [
    `#0  ${address()} in pid_update (gain=0x0) at control/pid.c:${line(98)}`,
    `#1  ${address()} in control_tick (zone=2) at control/loop.c:${line(44)}`,
    `#2  ${address()} in scheduler_run () at os/scheduler.c:${line(181)}`,
    `#3  ${address()} in main (argc=1, argv=${address()}) at main.c:${line(17)}`,
  ].join("\n"),
  context: { signal: "11", task: "control" },
});

const pythonFault: Fault = ({ line, number }) => ({
  code: "UNCAUGHT_EXCEPTION",
  message: `no reading of sensor ${number(8)} for ${number(60_000)} ms`,
  stack: [
    "Traceback (most recent call last):",
    `  File "/opt/agent/main.py", line ${line(60)}, in run`,
    "    self.tick()",
    `  File "/opt/agent/control.py", line ${line(12)}, in tick`,
    "    target = self.reading(zone)",
    `  File "/opt/agent/sensors.py", line ${line(33)}, in reading`,
    '    return self.values[zone]["temperature"]',
    "KeyError: 'temperature'",
  ].join("\n"),
  context: { runtime: "python 3.11" },
});

const rustFault: Fault = ({ line, pid, number }) => ({
  code: "PANIC",
  message: `index out of bounds: the len is 8 but the index is ${8 + Number(number(200))}`,
  stack: [
    `thread 'telemetry' (${pid}) panicked at src/ring.rs:${line(5)}:19:`,
    "index out of bounds",
    "stack backtrace:",
    "   0: __rustc::rust_begin_unwind",
    "   1: core::panicking::panic_fmt",
    "   2: core::panicking::panic_bounds_check",
    "   3: gateway::ring::Ring<T>::get",
    `             at ./src/ring.rs:${line(5)}:19`,
    "   4: gateway::telemetry::flush",
    `             at ./src/telemetry.rs:${line(70)}:22`,
    "   5: gateway::main::{{closure}}",
    `             at ./src/main.rs:${line(31)}:9`,
  ].join("\n"),
  context: { thread: "telemetry" },
});

const kernelFault: Fault = ({ number, pid }) => ({
  code: "KERNEL_OOPS",
  message: "the kernel's log was found after a restart by the watchdog",
  stack: [
    "Unable to handle kernel NULL pointer dereference at virtual address 00000000000000a0",
    "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP",
    `CPU: ${number(4)} PID: ${pid} Comm: gateway Not tainted 6.6.30 #1`,
    "pc : wlan_tx_complete+0x1c8/0x2f0 [acme_wlan]",
    "lr : wlan_irq_thread+0x94/0x160 [acme_wlan]",
    "Call trace:",
    " wlan_tx_complete+0x1c8/0x2f0 [acme_wlan]",
    " wlan_irq_thread+0x94/0x160 [acme_wlan]",
    " irq_thread_fn+0x30/0xb0",
    " irq_thread+0x17c/0x310",
    " kthread+0x118/0x120",
    " ret_from_fork+0x10/0x20",
    "---[ end trace 0000000000000000 ]---",
  ].join("\n"),
  context: { reset_reason: "watchdog" },
});

const faults: readonly Fault[] = [nativeFault, pythonFault, rustFault, kernelFault];

function hex(random: () => number, least: number, most: number): string {
  return (least + Math.floor(random() * (most - least))).toString(16);
}
