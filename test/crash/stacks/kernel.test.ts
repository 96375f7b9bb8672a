import { testPairs } from "./pairs.ts";

const stamped = (lines: readonly string[], at: number, prefix = "") =>
  lines.map((line, index) => `${prefix}[ ${at}.${String(100_000 + index)}] ${line}`).join("\n");

const x86 = (name: string, pid: number, module = "") => [
  "BUG: kernel NULL pointer dereference, address: 0000000000000010",
  "#PF: supervisor read access in kernel mode",
  "Oops: 0000 [#1] PREEMPT SMP NOPTI",
  `CPU: ${pid % 4} PID: ${pid} Comm: agent Tainted: G           O      6.1.${pid % 60}-yocto #1`,
  `RIP: 0010:${name}+0x${pid.toString(16)}/0x1a0${module}`,
  `RSP: 0018:ffffc9000${pid}`,
  "Call Trace:",
  " <TASK>",
  ` ? show_regs.cold+0x${pid.toString(16)}/0x1f`,
  ` ${name}.isra.0+0x1c/0x40${module}`,
  ` adc_ioctl+0x7a/0x130${module}`,
  " __x64_sys_ioctl+0x8b/0xc0",
  " do_syscall_64+0x38/0x90",
  " </TASK>",
  "---[ end trace 0000000000000000 ]---",
];

const riscv = (name: string, address: string) => [
  `Unable to handle kernel paging request at virtual address ${address}`,
  "Oops [#1]",
  "CPU: 1 PID: 77 Comm: kworker/1:1 Not tainted 6.6.0 #1",
  `epc : ${name}+0x1c/0x40 [meter]`,
  " ra : meter_work+0xc/0x40 [meter]",
  `epc : ${address} ra : ffffffff01a2b3c4 sp : ff2000000${address.slice(0, 6)}`,
  "Call Trace:",
  `[<${address}>] ${name}+0x1c/0x40 [meter]`,
  "[<ffffffff80041234>] process_one_work+0x10c/0x310",
];

const powerpc = (name: string, task: string) => [
  "Kernel attempted to read user page (10) - exploit attempt? (uid: 0)",
  "BUG: Kernel NULL pointer dereference on read at 0x00000010",
  "Oops: Kernel access of bad area, sig: 11 [#1]",
  `CPU: 0 PID: 1 Comm: ${task} Not tainted 5.15.0`,
  `NIP [c0123456] ${name}+0x1c/0x40`,
  "LR [c0123440] gpio_poll+0x8/0x40",
  "Call Trace:",
  `[c0a01e50] [c0123440] ${name}+0x8/0x40 (unreliable)`,
  "[c0a01e70] [c0034567] gpio_poll+0x44/0x90",
];

const arm = (name: string, address: string) => [
  `Unable to handle kernel NULL pointer dereference at virtual address ${address}`,
  "Internal error: Oops: 5 [#1] SMP ARM",
  `PC is at ${name}+0x14/0x60 [lcd]`,
  "LR is at lcd_ioctl+0x2c/0x90 [lcd]",
  "Backtrace: ",
  `[<bf00${address.slice(4)}>] (${name} [lcd]) from [<bf001234>] (lcd_ioctl+0x2c/0x90 [lcd])`,
  "[<c0101234>] (sys_ioctl) from [<c0100080>] (ret_fast_syscall+0x0/0x54)",
];

const stall = (name: string, seconds: number) => [
  `watchdog: BUG: soft lockup - CPU#${seconds % 4} stuck for ${seconds}s! [agent:${seconds}]`,
  `CPU: ${seconds % 4} PID: ${seconds} Comm: agent Not tainted 6.1.0 #1`,
  `RIP: 0010:${name}+0x3/0x10`,
  "Call Trace:",
  " spi_transfer+0x10/0x20",
];

const panic = (reason: string, name: string) => [
  `Kernel panic - not syncing: ${reason}`,
  "CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0 #1",
  "Call Trace:",
  " dump_stack_lvl+0x44/0x5c",
  " panic+0x118/0x2ed",
  ` ${name}+0x1a3/0x1c0`,
];

testPairs({
  kind: "kernel",
  same: [
    [
      "x86, another build, process and time",
      stamped(x86("adc_read", 412), 12),
      stamped(x86("adc_read", 9182), 99_345),
    ],
    [
      "x86, with syslog's prefix",
      stamped(x86("adc_read", 412), 12),
      stamped(x86("adc_read", 412), 9, "Jan  5 12:00:00 gateway kernel: "),
    ],
    [
      "x86, with the journal's time of ISO 8601",
      stamped(x86("adc_read", 412), 12),
      stamped(x86("adc_read", 412), 9, "2024-01-05T12:00:00+0000 gateway kernel: "),
    ],
    [
      "x86, as dmesg -T prints it",
      stamped(x86("adc_read", 412), 12),
      x86("adc_read", 412)
        .map((line) => `[Fri Jan  5 12:00:00 2024] ${line}`)
        .join("\n"),
    ],
    [
      "RISC-V",
      stamped(riscv("meter_read", "ffffffff01a2b3c0"), 1),
      stamped(riscv("meter_read", "ffffffff01b00000"), 70),
    ],
    ["PowerPC", stamped(powerpc("gpio_read", "agent"), 1), stamped(powerpc("gpio_read", "init"), 70)],
    ["ARM", stamped(arm("lcd_write", "00000004"), 1), stamped(arm("lcd_write", "00000ff0"), 70)],
    ["a lockup", stamped(stall("spi_wait", 22), 1), stamped(stall("spi_wait", 48), 1)],
    [
      "a panic",
      stamped(panic("VFS: Unable to mount root fs on unknown-block(0,0)", "mount_root"), 1),
      stamped(panic("VFS: Unable to mount root fs on unknown-block(179,2)", "mount_root"), 5),
    ],
  ],
  different: [
    ["x86, two functions", stamped(x86("adc_read", 412), 12), stamped(x86("adc_write", 412), 12)],
    [
      "RISC-V, two functions",
      stamped(riscv("meter_read", "ffffffff01a2b3c0"), 1),
      stamped(riscv("meter_reset", "ffffffff01a2b3c0"), 1),
    ],
    [
      "PowerPC, two functions",
      stamped(powerpc("gpio_read", "agent"), 1),
      stamped(powerpc("gpio_set", "agent"), 1),
    ],
    [
      "ARM, two functions",
      stamped(arm("lcd_write", "00000004"), 1),
      stamped(arm("lcd_clear", "00000004"), 1),
    ],
    ["two lockups", stamped(stall("spi_wait", 22), 1), stamped(stall("i2c_wait", 22), 1)],
    [
      "two panics",
      stamped(panic("VFS: Unable to mount root fs", "mount_root"), 1),
      stamped(panic("Attempted to kill init! exitcode=0x0000000b", "do_exit"), 1),
    ],
    ["a lockup and a bad access", stamped(stall("adc_read", 22), 1), stamped(x86("adc_read", 412), 12)],
  ],
});
