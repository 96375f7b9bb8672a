import type { Frame, ParsedStack } from "./frame.ts";
import { normaliseSymbol, normaliseText } from "./normalise.ts";

/**
 * Reads the log of a Linux oops, panic or warning, of x86, ARM and ARM64, bare or as syslog and the journal write it. Lines
 * with `?` are leftovers on the stack, not calls. A second report in the same log, which the first one often causes, is
 * left out.
 */
export function parseKernelStack(lines: readonly string[]): ParsedStack {
  const frames: Frame[] = [];
  let fault = "";
  let inTrace = false;
  for (const raw of lines) {
    const line = withoutPrefix(raw);
    if (endOfReport.test(line) && frames.length > 0) break;
    if (fault === "") fault = faultOf(line);
    if (traceBegins.test(line)) {
      inTrace = true;
      continue;
    }
    const place = faultPlace.exec(line)?.[1] ?? (inTrace ? callOf(line) : undefined);
    if (place === undefined) continue;
    const symbol = normaliseSymbol(place);
    if (symbol !== "" && frames.at(-1)?.symbol !== symbol)
      frames.push({ symbol, inApp: !entry.test(symbol) });
  }
  return { fault, frames };
}

/** `Apr 15 13:58:08 host kernel: `, `<4>`, `[  123.456789] ` and `[ T1234] `. */
function withoutPrefix(line: string): string {
  const kernel = line.indexOf("kernel: ");
  let rest = kernel >= 0 && kernel < maxPrefix ? line.slice(kernel + "kernel: ".length) : line;
  rest = rest.trimStart().replace(/^<\d{1,2}>/, "");
  return rest.replace(/^\[\s{0,12}\d{1,12}\.\d{1,9}\](?:\[\s{0,8}[TC]\d{1,8}\])?\s?/, "");
}

/** No date and host name are longer. */
const maxPrefix = 160;

const endOfReport = /^-+\[ end (?:trace|Kernel panic)/;
const traceBegins = /^\s*(?:Call [Tt]race|Backtrace):/;
/** The instruction that failed. The user's own, of segment 0033, tells nothing. */
const faultPlace =
  /^\s*(?:RIP: (?:0010:)?(?:\[<[0-9a-f]+>\] )?|EIP: (?:is at )?|IP: (?:\[<[0-9a-f]+>\] )?|pc : |PC is at |epc : )([A-Za-z_][\w.$]{0,200})\+0x[0-9a-f]+/;
const plainCall = /^\s*(?:\[<[0-9a-f]+>\] )?(?:\(?)([A-Za-z_][\w.$]{0,200})\+0x[0-9a-f]+(?:\/0x[0-9a-f]+)?/;
/** ARM: `[<c0101234>] (read_raw) from [<c0105678>] (poll+0x2c/0x90)`, or newer ` read_raw from poll+0x2c/0x90`. */
const armCall = /^\s*(?:\[<[0-9a-f]+>\] )?\(?([A-Za-z_][\w.$]{0,200})(?:\+0x[0-9a-f/x]+)?\)? from /;

function callOf(line: string): string | undefined {
  return armCall.exec(line)?.[1] ?? plainCall.exec(line)?.[1];
}

const faults: readonly (readonly [pattern: RegExp, fault: string])[] = [
  [/NULL pointer dereference/i, "NULL pointer dereference"],
  [/unable to handle (?:kernel )?(?:paging request|page fault)|paging request/i, "bad page access"],
  [/general protection fault/i, "general protection fault"],
  [/kernel BUG at/, "BUG"],
  [/divide error|division by zero/i, "division by zero"],
  [/undefined instruction|invalid opcode/i, "invalid instruction"],
  [/soft lockup|hard lockup/i, "lockup"],
  [/rcu.{0,40}stall/i, "RCU stall"],
  [/KASAN: [a-z-]{1,40}/, "KASAN"],
  [/^WARNING: CPU: /, "WARNING"],
];

function faultOf(line: string): string {
  for (const [pattern, fault] of faults) if (pattern.test(line)) return fault;
  const panic = /Kernel panic - not syncing: (.{1,200})$/.exec(line)?.[1];
  return panic === undefined ? "" : normaliseText(panic);
}

/** How control got into the kernel, and how the kernel reports. */
const entry =
  /^(?:entry_SYSCALL.*|do_syscall_.*|do_fast_syscall.*|__?x64_sys_.*|__arm64_sys_.*|__se_sys_.*|__do_sys_.*|x64_sys_call|invoke_syscall.*|el0_svc.*|el0t?_.*|el1h?_.*|do_el0_svc|ret_from_fork.*|ret_fast_syscall|kthread|asm_(?:exc|sysvec|common)_.*|exc_.*|page_fault.*|async_page_fault|do_user_addr_fault|do_page_fault|do_mem_abort|do_translation_fault|do_kernel_fault|do_DataAbort|__dabt_.*|__do_kernel_fault.*|die.*|__die.*|oops_.*|show_stack.*|dump_stack.*|dump_backtrace.*|panic|__warn.*|warn_slowpath.*|report_bug|handle_bug|secondary_startup.*|x86_64_start_.*|start_kernel|swapper|arch_call_rest_init|kernel_init.*|worker_thread|process_one_work|process_scheduled_works)$/;
