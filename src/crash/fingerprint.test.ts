import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprintOf, maxTitleLength } from "./fingerprint.ts";

/**
 * Stacks as runtimes print them: `<fault>.1.txt` and `<fault>.2.txt` are the same fault of two builds, in other folders,
 * with other lines, addresses and process ids. Those of the kernel follow the format of reports of several architectures.
 */
const folder = join(import.meta.dirname, "../../test/crash/fixtures");

const stacks = readdirSync(folder).map((file) => ({
  fault: file.replace(/\.\d\.txt$/, ""),
  stack: readFileSync(join(folder, file), "utf8"),
}));

const faults = Map.groupBy(stacks, ({ fault }) => fault);

/** The same null read as glibc, GDB and AddressSanitizer tell it, of one kind of stack each. */
function of(stack: string, other: { code?: string; message?: string } = {}) {
  return fingerprintOf({ code: "CRASH", message: "it crashed", stack, ...other });
}

const expected: Record<string, readonly [kind: string, title: string]> = {
  "asan-null-read": ["native", "SEGV in read_sensor"],
  "asan-use-after-free": ["native", "double-free in free_twice"],
  "gdb-double-free": ["native", "abort in free_twice"],
  "gdb-null-read": ["native", "CRASH in read_sensor"],
  "glibc-double-free": ["native", "abort in free_twice"],
  "glibc-null-read": ["native", "CRASH in read_sensor"],
  "go-nil": ["go", "invalid memory address or nil pointer dereference in main.(*Sensor).Read"],
  "java-config": ["java", "java.lang.NumberFormatException in com.example.thermostat.Agent.load"],
  "java-later": ["java", "java.lang.NullPointerException in com.example.thermostat.Agent$Sensor.read"],
  "java-null": ["java", "java.lang.NullPointerException in com.example.thermostat.Agent$Sensor.read"],
  "java-reflect": ["java", "java.lang.IndexOutOfBoundsException in com.example.thermostat.Agent.broken"],
  "kernel-null-arm64": ["kernel", "NULL pointer dereference in motor_set_speed"],
  "kernel-null-x86": ["kernel", "NULL pointer dereference in adc_read_raw"],
  "kernel-paging-arm": ["kernel", "bad page access in lcd_write"],
  "kernel-panic": ["kernel", "VFS: Unable to mount root fs on unknown-block(<n>) in mount_block_root"],
  "node-config": ["javascript", "Error in agent:Controller.start"],
  "node-emit": ["javascript", "TypeError in agent:Controller.tick"],
  "node-throw": ["javascript", "Error in agent:Controller.convert"],
  "node-tick": ["javascript", "TypeError in agent:Controller.tick"],
  "python-config": ["python", "FileNotFoundError in agent.load"],
  "python-json": ["python", "json.decoder.JSONDecodeError in agent.parse"],
  "python-key": ["python", "KeyError in agent.celsius"],
  "python-recursion": ["python", "RecursionError in agent.tick"],
  "rust-config": ["rust", "expect_failed in agent::config"],
  "rust-index": ["rust", "panic_bounds_check in agent::Sensor::read"],
  "rust-parse": ["rust", "unwrap_failed in agent::parse"],
  "rust-thread": ["rust", "panic_bounds_check in agent::Sensor::read"],
};

describe("the fingerprint of a stack", () => {
  it.each([...faults.keys()])("recognises %s in another build", (fault) => {
    const found = (faults.get(fault) ?? []).map(({ stack }) => of(stack));
    expect(found).toHaveLength(2);
    expect(found[0]).toEqual(found[1]);
    expect([found[0]?.stackKind, found[0]?.title]).toEqual(expected[fault]);
  });

  it("tells different faults apart", () => {
    const digests = [...faults].map(([fault, [first]]) => [of(first?.stack ?? "").sha256, fault] as const);
    const byDigest = Map.groupBy(digests, ([sha256]) => sha256);
    const together = [...byDigest.values()]
      .filter((list) => list.length > 1)
      .map((list) => list.map(([, fault]) => fault));
    // What glibc's handler and GDB say of one crash is the same.
    expect(together).toEqual([
      ["gdb-double-free", "glibc-double-free"],
      ["gdb-null-read", "glibc-null-read"],
    ]);
  });

  it("tells codes apart", () => {
    const stack = stacks[0]?.stack ?? "";
    expect(of(stack, { code: "A" }).sha256).not.toBe(of(stack, { code: "B" }).sha256);
  });

  it("does not depend on the message if there is a stack", () => {
    const stack = stacks[0]?.stack ?? "";
    expect(of(stack, { message: "pid 1" })).toEqual(of(stack, { message: "pid 2" }));
  });

  it("goes by module and offset in a stripped program", () => {
    const stripped = (base: string, offset: string) =>
      `/opt/app/ctl(+${offset})[0x55${base}1e6]\n/lib/libc.so.6(abort+0xd3)[0x7f${base}472]\n/opt/app/ctl(+0x2201)[0x55${base}201]`;
    expect(of(stripped("aa", "0x11b4")).sha256).toBe(of(stripped("bb", "0x11b4")).sha256);
    expect(of(stripped("aa", "0x11b4")).sha256).not.toBe(of(stripped("aa", "0x11c8")).sha256);
  });
});

describe("the fingerprint without a stack", () => {
  it.each([
    ["sensor 3 timed out after 1250 ms", "sensor 12 timed out after 80.5 ms"],
    ["cannot open /data/run-17/cfg.json", "cannot open /mnt/cfg.json"],
    [
      "session 0190a1b2-0000-7000-8000-00000000abcd ended",
      "session ffffffff-1111-4111-8111-0123456789ab ended",
    ],
    ["bad frame at 0x7ffe01", "bad frame at 0xdeadbeef"],
    ["peer 10.0.0.1:443 closed", "peer 192.168.100.17:8080 closed"],
    ["digest 9f86d081884c7d65 differs", "digest 2c26b46b68ffc68f differs"],
  ])("groups %j with %j", (one, other) => {
    expect(of("", { message: one }).sha256).toBe(of("", { message: other }).sha256);
  });

  it.each([
    ["sensor timed out", "sensor disconnected"],
    ["uart1 failed", "spi1 failed"],
    ["", "out of memory"],
  ])("keeps %j and %j apart", (one, other) => {
    expect(of("", { message: one }).sha256).not.toBe(of("", { message: other }).sha256);
  });

  it("groups text in no known format by its first lines", () => {
    const text = (n: number) => `task ${n} overflowed\nregister dump ${n * 7}\n`;
    expect(of(text(1))).toEqual(of(text(2)));
    expect(of(text(1)).stackKind).toBe("other");
    expect(of(text(1)).sha256).not.toBe(of("watchdog bite").sha256);
  });
});

describe("the fingerprint of anything", () => {
  const fragment = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(
      "\n",
      "    at ",
      "(",
      ")",
      "[0x1",
      "]",
      "#0 ",
      "0x",
      "::h0123456789abcdef",
      "/a/b",
      "Caused by: ",
      "a.B: ",
      "+0x1/0x2",
      "Call Trace:\n",
      "kernel: ",
      "thread 'a' panicked at ",
      'File "x", line 1, in ',
      "Traceback (most recent call last):",
      "... 3 more",
      " from ",
      "<",
      ">",
      "{{closure}}",
      "$1",
      "-deadbeef",
      "operator(",
      "1: ",
      "[cause]: Error",
    ),
  );

  it("is a digest and a bounded title, always the same", () => {
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 60 }), fc.string(), fc.string(), (parts, code, message) => {
        const error = { code, message, stack: parts.join("") };
        const found = fingerprintOf(error);
        expect(found.sha256).toMatch(/^[0-9a-f]{64}$/);
        expect(found.title.length).toBeLessThanOrEqual(maxTitleLength);
        expect(fingerprintOf(error)).toEqual(found);
      }),
    );
  });

  it("takes no longer for hostile text than for any other", () => {
    const pieces = [
      "/",
      "a/",
      "/a",
      " /a",
      "0x",
      "::",
      "$1",
      "$$Lambda",
      "{closure",
      "<",
      "((",
      "operator(",
      " at ",
      "    at a (",
      "[",
      "#1 a",
      ".",
      "-a1",
      "1.",
      "f",
      "a-",
      "{{closure}",
      ".isra",
      "h1",
      "[a1b2c3d4",
      "'",
      "_ZN",
      " from ",
      "kernel: ",
      "\t",
      " ",
    ];
    for (const lead of [
      "",
      "#0 ",
      "    at ",
      "Call Trace:\n ",
      "Caused by: ",
      '  File "',
      "thread 'x' panicked at \n0: ",
      "a(b)[0x1]\n",
    ]) {
      for (const piece of pieces) {
        const stack = lead + piece.repeat(16_000 / piece.length);
        const before = process.cpuUsage();
        fingerprintOf({ code: "X", message: piece.repeat(2_000 / piece.length), stack });
        // Quadratic work on 16,000 characters takes seconds of the processor; this takes about a millisecond.
        expect(process.cpuUsage(before).user / 1_000, JSON.stringify(lead + piece)).toBeLessThan(500);
      }
    }
  });
});
