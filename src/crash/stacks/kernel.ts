import { normaliseText } from "../words/normalise-text.ts";
import { normaliseSymbol } from "./names.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * The log of a Linux oops, panic, stall or warning, of x86, ARM, ARM64, RISC-V, MIPS and PowerPC. Lines with `?` are leftovers
 * on the stack, not calls. A second report in the same log, which the first one often causes, is left out.
 */
export const kernel: StackFormat = {
  kind: "kernel",
  sign: (line) => kernelLine.test(line) || traceBegins.test(line),
  parse(lines) {
    const frames: Frame[] = [];
    let fault = "";
    let inTrace = false;
    for (const line of lines) {
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
        frames.push({ symbol, inApp: !machinery.test(symbol) });
    }
    return { fault, frames } satisfies ParsedStack;
  },
};

const kernelLine =
  /\b(?:Unable to handle kernel|Unhandled kernel unaligned access|BUG: (?:unable to handle|kernel|Bad page|scheduling while|KASAN|KFENCE|soft lockup|sleeping function)|kernel BUG at|Kernel bug detected|Kernel panic - not syncing|Internal error: |Oops(?:: |\[#)|general protection fault(?:,|:)|watchdog: BUG|WARNING: CPU: |INFO: task .{1,40} blocked for more than|rcu: INFO: rcu_\w{1,20} (?:self-)?detected stall)/;
const endOfReport = /^-{1,10}\[ end (?:trace|Kernel panic)/;
const traceBegins = /^\s{0,8}(?:Call [Tt]race|Backtrace):/;

/** The instruction that failed. The user's own, of segment 0033, tells nothing. */
const faultPlace =
  /^\s{0,8}(?:RIP: (?:0010:)?(?:\[<[0-9a-f]{1,16}>\] )?|EIP: (?:is at )?|IP: (?:\[<[0-9a-f]{1,16}>\] )?|pc : |PC is at |epc {0,4}: (?:[0-9a-f]{1,16} )?|NIP \[[0-9a-f]{1,16}\] |BUG: K(?:ASAN|FENCE): .{1,80} in |WARNING: CPU: \d{1,5} PID: \d{1,10} at (?:\S{1,200} )?)([A-Za-z_][\w.$]{0,200})\+0x[0-9a-f]{1,16}/;
const plainCall =
  /^\s{0,8}(?:\[(?:<[0-9a-f]{1,16}>|[0-9a-f]{8,16})\] ){0,2}\(?([A-Za-z_][\w.$]{0,200})\+0x[0-9a-f]{1,16}/;
/** ARM: `[<c0101234>] (read_raw) from [<c0105678>] (poll+0x2c/0x90)`, or newer ` read_raw from poll+0x2c/0x90`. */
const armCall =
  /^\s{0,8}(?:\[<[0-9a-f]{1,16}>\] )?\(?([A-Za-z_][\w.$]{0,200})(?:\+0x[0-9a-f/x]{1,40})?\)? from /;

function callOf(line: string): string | undefined {
  return armCall.exec(line)?.[1] ?? plainCall.exec(line)?.[1];
}

const faults: readonly (readonly [pattern: RegExp, fault: string])[] = [
  [/NULL pointer dereference/i, "NULL pointer dereference"],
  [/unable to handle (?:kernel )?(?:paging request|page fault)|paging request/i, "bad page access"],
  [/unaligned access/i, "unaligned access"],
  [/general protection fault/i, "general protection fault"],
  [/kernel BUG at|Kernel bug detected/, "BUG"],
  [/scheduling while atomic|sleeping function called from invalid context/, "sleep in atomic context"],
  [/divide error|division by zero/i, "division by zero"],
  [/undefined instruction|invalid opcode/i, "invalid instruction"],
  [/soft lockup|hard lockup/i, "lockup"],
  [/rcu.{0,40}stall/i, "RCU stall"],
  [/blocked for more than \d/, "hung task"],
  [/KASAN: [a-z-]{1,40}/, "KASAN"],
  [/KFENCE: /, "KFENCE"],
  [/^WARNING: CPU: /, "WARNING"],
];

function faultOf(line: string): string {
  for (const [pattern, fault] of faults) if (pattern.test(line)) return fault;
  const panic = /Kernel panic - not syncing: (.{1,200})$/.exec(line)?.[1];
  return panic === undefined ? "" : normaliseText(panic);
}

/** How control got into the kernel, how it schedules, and how it reports. */
const machinery =
  /^(?:entry_SYSCALL.*|do_syscall_.*|do_fast_syscall.*|__?x64_sys_.*|__arm64_sys_.*|__riscv_sys_.*|__se_sys_.*|__do_sys_.*|[SC]yS_.*|[sk]?sys_.*|x64_sys_call|invoke_syscall.*|el0_svc.*|el0t?_.*|el1h?_.*|do_el0_svc|ret_from_.*|ret_fast_syscall|handle_sys.*|syscall_common|do_trap_.*|handle_exception|_new_vmalloc_restore_context_a0|kthread|asm_(?:exc|sysvec|common)_.*|exc_.*|page_fault.*|async_page_fault|do_user_addr_fault|do_page_fault|do_mem_abort|do_translation_fault|do_kernel_fault|do_DataAbort|__dabt_.*|__do_kernel_fault.*|no_context|bad_area.*|tlb_do_page_fault.*|die|__die.*|die_kernel_fault|oops_.*|show_stack.*|show_regs.*|dump_stack.*|dump_backtrace.*|panic|__warn.*|warn_slowpath.*|report_bug|handle_bug|nmi_.*|kasan_.*|print_report|print_address_description.*|check_memory_region|__asan_.*|secondary_startup.*|x86_64_start_.*|start_kernel|swapper|arch_call_rest_init|kernel_init.*|worker_thread|process_one_work|process_scheduled_works|__schedule|schedule|schedule_timeout|watchdog_.*|__hrtimer_.*|hrtimer_.*|__run_hrtimer|tick_.*|update_process_times|rcu_.*|irq_.*|__irq_.*|handle_irq.*|generic_handle_.*|gic_handle_irq|cpu_startup_entry|do_idle|cpuidle_.*|arch_cpu_idle|default_idle.*|call_on_irq_stack|do_softirq.*|__do_softirq.*)$/;
