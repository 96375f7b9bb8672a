import { testPairs } from "./pairs.ts";

const guru = (backtrace: string, { core = 0, reason = "LoadProhibited", sha = "", more = "" } = {}) => `
Guru Meditation Error: Core  ${core} panic'ed (${reason}). Exception was unhandled.

Core  ${core} register dump:
PC      : 0x${backtrace.slice(2, 10)}  PS      : 0x0006${core}330  A0      : 0x801105f0  A1      : 0x3ffe35${core}0
A2      : 0x3ffe38${core}0  A3      : 0x3ffe3540  A4      : 0x000000${core}0  A5      : 0x000002c0
EXCVADDR: 0x801105f4  LBEG    : 0x4000c46c  LEND    : 0x4000c477  LCOUNT  : 0xffffffff

Backtrace: ${backtrace}
${more}
ELF file SHA256: ${sha}

Rebooting...
`;

const guruRiscv = (pc: string, reason = "Load access fault") => `
Guru Meditation Error: Core  0 panic'ed (${reason}). Exception was unhandled.

Core  0 register dump:
MEPC    : 0x${pc}  RA      : 0x42007a12  SP      : 0x3fc9${pc.slice(4)}  GP      : 0x3fc8b400
MSTATUS : 0x00001881  MTVEC   : 0x40380001  MCAUSE  : 0x00000005  MTVAL   : 0x00000000

Stack memory:
3fc9a1b0: 0x00000000 0x3fc9${pc.slice(4)} 0x00000001 0x42007a12
`;

const zephyr = (
  pc: string,
  {
    fault = "MPU FAULT",
    detail = "Data Access Violation",
    at = "00:00:00.000,183",
    thread = "0x20000100",
  } = {},
) =>
  [
    `***** ${fault} *****`,
    `  ${detail}`,
    `r0/a1:  ${thread}  r1/a2:  0xe000ed00  r2/a3:  0x00000000`,
    "xpsr:  0x60000000",
    `Faulting instruction address (r15/pc): ${pc}`,
    ">>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0",
    `Current thread: ${thread} (unknown)`,
    "Halting system",
  ]
    .map((line) => `[${at}] \u001B[1;31m<err> os: ${line}\u001B[0m`)
    .join("\n");

const zephyrRiscv = (pc: string, cause: string) => `
E:  mcause: 5, ${cause}
E:   mtval: 0
E:      a0: 00000000    t0: 0000${pc.slice(4)}
E:    mepc: ${pc}
E: >>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0
E: Current thread: 0x80${pc.slice(2)} (main)
`;

const hardFault = (pc: string, lr: string, r0 = "0x00000000") => `[HardFault]
R0 = ${r0}  R1 = 0x20001234
CFSR = 0x00008200  HFSR = 0x40000000  BFAR = ${r0}
LR = ${lr}
PC = ${pc}
PSR = 0x61000000
`;

const mbed = (pc: string, type = "HardFault") => `
++ MbedOS Fault Handler ++

FaultType: ${type}

Context:
R0   : 0000AAA3
SP   : 2000${pc.slice(4)}
LR   : 000063D9
PC   : ${pc}
xPSR : 01000000
`;

const cmBacktrace = (addresses: string, task: string) => `
Firmware name: agent, hardware version: V1.0.0, software version: V0.1.0
Fault on thread ${task}
===== Thread stack information =====
  addr: 20001ab0    data: ${addresses.slice(0, 8)}
Hard fault is caused by Indirect bus error
Show more call stack info by run: addr2line -e agent.elf -a -f ${addresses}
`;

const aborted = (pc: string, core: number) => `
abort() was called at PC 0x${pc} on core ${core}

Backtrace: 0x40081a2d:0x3ffb1f30 0x40085e01:0x3ffb1f50 0x4008a8f5:0x3ffb1f70 0x${pc}:0x3ffb1fe0
`;

const asserted = (file: string, line: number, condition: string) => `
assert failed: xQueueSemaphoreTake ${file}:${line} (${condition})

Backtrace: 0x4008${line}:0x3ffb1f30 0x40085e01:0x3ffb1f50
`;

const checked = (func: string, line: number) => `
ESP_ERROR_CHECK failed: esp_err_t 0x101 (ESP_ERR_NO_MEM) at 0x4008${line}
file: "./main/main.c" line ${line}
func: ${func}
expression: nvs_flash_init()

abort() was called at PC 0x4008${line} on core 0
`;

const chain = "0x400d1a2b:0x3ffb1f30 0x400d2b3c:0x3ffb1f50";

testPairs({
  kind: "microcontroller",
  same: [
    [
      "ESP32 on another core and stack",
      guru(chain),
      guru("0x400d1a2b:0x3ffc0010 0x400d2b3c:0x3ffc0030", { core: 1 }),
    ],
    [
      "ESP32 with a log's prefix and CRLF",
      guru(chain),
      guru(chain)
        .split("\n")
        .map((line) => `E (10303) agent: ${line}\r`)
        .join("\n"),
    ],
    ["ESP32 with a corrupted end", guru(chain), guru(`${chain} |<-CORRUPTED`)],
    [
      "ESP32 decoded by the monitor",
      guru(chain, {
        more: "0x400d1a2b: read_sensor at /home/u/main/sensor.c:12\n0x400d2b3c: app_main at /home/u/main/main.c:40",
      }),
      guru("0x400d1a99:0x3ffb1f30 0x400d2bff:0x3ffb1f50", {
        more: "--- 0x400d1a99: read_sensor at /srv/main/sensor.c:14\n--- 0x400d2bff: app_main at /srv/main/main.c:44",
      }),
    ],
    [
      "ESP32-C3",
      guruRiscv("42001234"),
      guruRiscv("42001234").replace("GP      : 0x3fc8b400", "GP      : 0x3fc8ffff"),
    ],
    ["abort on another core", aborted("400d1234", 0), aborted("400d1234", 1)],
    [
      "an assertion in another build",
      asserted("queue.c", 1549, "pxQueue"),
      asserted("queue.c", 1560, "pxQueue"),
    ],
    ["a checked error in another build", checked("app_main", 12), checked("app_main", 19)],
    [
      "Zephyr at another time, in another thread",
      zephyr("0x00004b48"),
      zephyr("0x00004b48", { at: "00:10:07.120,001", thread: "0x20000788" }),
    ],
    [
      "Zephyr on RISC-V",
      zephyrRiscv("20401234", "Load access fault"),
      zephyrRiscv("20401234", "Load access fault").replace("(main)", "(idle)"),
    ],
    [
      "a hard fault with other registers",
      hardFault("0x08001234", "0x08005678"),
      hardFault("0x08001234", "0x08005678", "0x20000040"),
    ],
    ["Mbed", mbed("000063D8"), mbed("000063D8").replace("0000AAA3", "00000001")],
    ["CmBacktrace", cmBacktrace("08001234 08002345", "main"), cmBacktrace("08001234 08002345", "poll")],
    [
      "ESP8266",
      "Exception (28):\nepc1=0x40201a2b epc2=0x00000000 excvaddr=0x00000000\n>>>stack>>>\n3ffffc10: 00 01\n",
      "Exception (28):\nepc1=0x40201a2b epc2=0x00000000 excvaddr=0x0000000c\n>>>stack>>>\n3fffff00: 40 11\n",
    ],
    [
      "an assertion of Zephyr",
      "ASSERTION FAIL [n < 8] @ WEST_TOPDIR/zephyr/kernel/sem.c:136\n",
      "[00:01:02.000,000] <err> os: ASSERTION FAIL [n < 8] @ /home/u/zephyr/kernel/sem.c:141\n",
    ],
  ],
  different: [
    ["ESP32, two places", guru(chain), guru("0x400d1a77:0x3ffb1f30 0x400d2b3c:0x3ffb1f50")],
    ["ESP32, two callers", guru(chain), guru("0x400d1a2b:0x3ffb1f30 0x400d2bff:0x3ffb1f50")],
    ["ESP32, two reasons", guru(chain), guru(chain, { reason: "StoreProhibited" })],
    [
      "ESP32, one address of two builds",
      guru(chain, { sha: "1a2b3c4d5" }),
      guru(chain, { sha: "99ee88ff0" }),
    ],
    ["ESP32-C3, two places", guruRiscv("42001234"), guruRiscv("42005678")],
    ["two aborts", aborted("400d1234", 0), aborted("400d9999", 0)],
    ["two assertions", asserted("queue.c", 1549, "pxQueue"), asserted("queue.c", 1549, "uxItemSize == 0")],
    ["two checked errors", checked("app_main", 12), checked("wifi_start", 12)],
    ["Zephyr, two places", zephyr("0x00004b48"), zephyr("0x0000a1b2")],
    [
      "Zephyr, two faults",
      zephyr("0x00004b48"),
      zephyr("0x00004b48", { fault: "USAGE FAULT", detail: "Division by zero" }),
    ],
    ["two hard faults", hardFault("0x08001234", "0x08005678"), hardFault("0x08004321", "0x08005678")],
    ["two calls to nowhere", hardFault("0x00000000", "0x08005678"), hardFault("0x00000000", "0x0800abcd")],
    ["Mbed, two places", mbed("000063D8"), mbed("00007000")],
    [
      "CmBacktrace, two places",
      cmBacktrace("08001234 08002345", "main"),
      cmBacktrace("08009999 08002345", "main"),
    ],
    [
      "two assertions of Zephyr",
      "ASSERTION FAIL [n < 8] @ kernel/sem.c:136\n",
      "ASSERTION FAIL [q != 0] @ kernel/queue.c:136\n",
    ],
  ],
});
