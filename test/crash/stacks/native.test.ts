import { testPairs } from "./pairs.ts";

const asan = (
  name: string,
  build: number,
  sort = "heap-use-after-free",
) => `=================================================================
==${build}==ERROR: AddressSanitizer: ${sort} on address 0x60200000${build} at pc 0x55f084dfca51 bp 0x7ffce8bd8500 sp 0x7ffce8bd84f8
READ of size 1 at 0x60200000${build} thread T0
    #0 0x7f${build}0001 in __interceptor_memcpy ../../../../src/libsanitizer/sanitizer_common/x.inc:827
    #1 0x55f0${build} in ${name} /srv/build-${build}/c.cpp:${build}:9
    #2 0x55f0${build} in main /srv/build-${build}/c.cpp:${build + 20}:3
    #3 0x7ff1ba645249 in __libc_start_call_main ../sysdeps/nptl/libc_start_call_main.h:58

freed by thread T0 here:
    #0 0x7ff1bb4b76a8 in __interceptor_free ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:52
    #1 0x55f084dfc9ee in release /tmp/rep/c.cpp:16
`;

const tombstone = (
  call: string,
  { pid = 4711, offset = "a1b2c", build = "8f3ec0a1" } = {},
) => `*** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***
Build fingerprint: 'vendor/dev/dev:11/RQ3A/${pid}:user/release-keys'
ABI: 'arm64'
pid: ${pid}, tid: ${pid}, name: agent  >>> /system/bin/agent <<<
signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x${pid}
    x0  000000000000${pid}  x1  0000007fc2
backtrace:
      #00 pc 00000000000${offset}  /vendor/lib64/libagent.so${call} (BuildId: ${build})
      #01 pc 0000000000049d18  /apex/com.android.runtime/lib64/bionic/libc.so (__pthread_start(void*)+68) (BuildId: aa00)
`;

const coredump = (
  frame: string,
  pid: number,
  address: string,
) => `Process ${pid} (agent) of user 1000 dumped core.

Module libc.so.6 from deb glibc-2.36.amd64
Stack trace of thread ${pid}:
#0  0x00007f${address}2c n/a (libc.so.6 + 0x8aeec)
#1  0x00007f${address}b2 raise (libc.so.6 + 0x3bfb2)
#2  0x000055${address}80 ${frame}
#3  0x000055${address}d0 main (agent + 0x1201)
ELF object binary architecture: AMD x86-64
`;

const backward = (name: string, build: string) => `Stack trace (most recent call last):
#4    Object "", at 0xffffffffffffffff, in
#3    Object "/usr/bin/agent", at 0x55d0c0d0${build}, in _start
#2    Object "/lib/libc.so.6", at 0x7125e6c280d0, in __libc_start_main
#1    Source "/src-${build}/main.cpp", line 40, in main [0x55d0c0d0${build}]
         38:   int main() {
      >  40:     return ${name}();
#0    Source "/src-${build}/sensor.cpp", line 12, in ${name} [0x55d0c0d0${build}]
Segmentation fault (Address not mapped to object [(nil)])
`;

const minidump = (frame: string, thread: number, pid: number) => `Operating system: Linux
                  0.0.0 Linux 5.4.0-42-generic #${pid}-Ubuntu SMP
CPU: arm64
Crash reason:  SIGSEGV /SEGV_MAPERR
Crash address: 0x${pid}
Process uptime: not available

Thread ${thread} (crashed)
 0  ${frame}
    x0 = 0x00000000000${pid}    x1 = 0x0000007fc2
    Found by: given as instruction pointer in context
 1  agent!main [main.cc : 40 + 0x8]
    Found by: call frame info

Thread 1
 0  libc.so.6 + 0x2a1
`;

const handled = (name: string, handler: string) => `#0  0x00007f1c in raise () from /lib/libc.so.6
#1  0x00005555 in ${handler} (sig=11) at crash.c:9
#2  <signal handler called>
#3  0x000055550001 in ${name} (s=0x0) at sensor.c:12
#4  0x000055550002 in main () at main.c:40
`;

const threads = (name: string) => `Thread 2 (Thread 0x7f00 (LWP 12)):
#0  0x00007f in poll () from /lib/libc.so.6
#1  0x000055 in uplink_loop (u=0x1) at uplink.c:9

Thread 1 (Thread 0x7f01 (LWP 11)):
#0  0x000055 in ${name} (s=0x0) at sensor.c:12
#1  0x000055 in main () at main.c:40
`;

const boost = (name: string, line: number) => ` 0# ${name}(int) at /src/sensor.cpp:${line}
 1# 0x00007F0${line}1 in /usr/lib/libstdc++.so.6
 2# main at /src/main.cpp:${line + 9}
`;

const valgrind = (name: string, pid: number) => `==${pid}== Invalid read of size 4
==${pid}==    at 0x4${pid}: ${name} (sensor.c:${pid})
==${pid}==    by 0x4${pid}: main (main.c:40)
==${pid}==  Address 0x0 is not stack'd, malloc'd or (recently) free'd
`;

const lldb = (name: string, address: string) => `* thread #1, name = 'agent', stop reason = signal SIGSEGV
  * frame #0: 0x0000${address} agent\`${name}(s=0x0) at sensor.c:12:9
    frame #1: 0x0000${address} agent\`main at main.c:40:3
    frame #2: 0x0000${address} libc.so.6\`__libc_start_main + 128
`;

const glibc = (call: string, base: string) =>
  `/opt/app/ctl(${call})[0x55${base}1e6]\n/lib/libc.so.6(+0x3c050)[0x7f${base}472]\n/opt/app/ctl(main+0x20)[0x55${base}201]\n`;

const segfault = (ip: string, base: string) =>
  `[  12.345678] agent[1234]: segfault at 0 ip 000055d0${ip} sp 00007ffc${base} error 4 in agent[55d0${base}+1000]\n`;

const terminated = (type: string) => `terminate called after throwing an instance of '${type}'
  what():  bad
#0  0x00007f1c in raise () from /lib/libc.so.6
#1  0x00007f1c in std::terminate() () from /lib/libstdc++.so.6
#2  0x000055 in load (n=3) at config.cpp:9
`;

testPairs({
  kind: "native",
  same: [
    ["AddressSanitizer", asan("agent::read", 118), asan("agent::read", 977)],
    [
      "a tombstone of another build",
      tombstone(" (readSensor+24)"),
      tombstone(" (readSensor+56)", { pid: 9, offset: "c1b40", build: "11ee22ff" }),
    ],
    [
      "a tombstone with parameters",
      tombstone(" (agent::read(int, char const*)+24)"),
      tombstone(" (agent::read(int, char const*)+99)", { pid: 17 }),
    ],
    [
      "a tombstone in logcat",
      tombstone(" (readSensor+24)"),
      tombstone(" (readSensor+24)")
        .split("\n")
        .map((line) => `01-05 12:00:00.123  4711  4711 F DEBUG   : ${line}`)
        .join("\n"),
    ],
    ["a stripped library of one build", tombstone(""), tombstone("", { pid: 99 })],
    [
      "systemd-coredump",
      coredump("read_sensor (agent + 0x1139)", 77, "1cab"),
      coredump("read_sensor (agent + 0x1239)", 4711, "00ff"),
    ],
    [
      "systemd-coredump, stripped",
      coredump("n/a (agent + 0x1139)", 77, "1cab"),
      coredump("n/a (agent + 0x1139)", 4711, "00ff"),
    ],
    [
      "systemd-coredump from the journal",
      coredump("read_sensor (agent + 0x1139)", 77, "1cab"),
      coredump("read_sensor (agent + 0x1139)", 78, "1cab")
        .split("\n")
        .map((line) => `Jan 05 12:00:00 gw systemd-coredump[99]: ${line}`)
        .join("\n"),
    ],
    ["backward-cpp", backward("read_sensor", "10ed"), backward("read_sensor", "ffaa")],
    [
      "minidump_stackwalk",
      minidump("agent!ReadSensor [sensor.cc : 12 + 0x5]", 0, 46),
      minidump("agent!ReadSensor [sensor.cc : 19 + 0x9]", 3, 71),
    ],
    [
      "a handler that was renamed",
      handled("read_sensor", "on_crash"),
      handled("read_sensor", "crash_handler"),
    ],
    ["boost", boost("read_sensor", 12), boost("read_sensor", 44)],
    ["Valgrind", valgrind("read_sensor", 12), valgrind("read_sensor", 99)],
    ["LLDB", lldb("read_sensor", "55d0"), lldb("read_sensor", "56ff")],
    [
      "glibc, mangled",
      glibc("_ZN5agent10readSensorEi+0x1d", "aa"),
      glibc("_ZN5agent10readSensorEi+0x2f", "bb"),
    ],
    [
      "glibc, stripped",
      glibc("+0x11b4", "aa").replace("main+0x20", "+0x2201"),
      glibc("+0x11b4", "bb").replace("main+0x20", "+0x2201"),
    ],
    ["the kernel's line of a program", segfault("c0d01180", "c0d01000"), segfault("aaaa1180", "aaaa1000")],
    [
      "Abseil",
      "*** SIGSEGV received at time=1700000000 on cpu 1 ***\nPC: @     0x55d0c0d01180  (unknown)  ReadSensor()\n    @     0x55d0c0d01200  32  main\n",
      "*** SIGSEGV received at time=1800000000 on cpu 3 ***\nPC: @     0x11d0c0d01180  (unknown)  ReadSensor()\n    @     0x11d0c0d01200  48  main\n",
    ],
    [
      "clones of the optimiser",
      handled("read_sensor.constprop.0", "h"),
      handled("read_sensor.isra.3.part.0", "h"),
    ],
  ],
  different: [
    ["AddressSanitizer, two functions", asan("agent::read", 118), asan("agent::write", 118)],
    [
      "AddressSanitizer, two faults",
      asan("agent::read", 118),
      asan("agent::read", 118, "heap-buffer-overflow"),
    ],
    ["two tombstones", tombstone(" (readSensor+24)"), tombstone(" (writeConfig+24)")],
    ["two places of a stripped library", tombstone(""), tombstone("", { offset: "c1b2c" })],
    ["one offset of two builds", tombstone(""), tombstone("", { build: "0011aabb" })],
    [
      "systemd-coredump, two offsets",
      coredump("n/a (agent + 0x1139)", 77, "1cab"),
      coredump("n/a (agent + 0x2260)", 77, "1cab").replace("main (agent", "n/a (agent"),
    ],
    ["backward-cpp, two functions", backward("read_sensor", "10ed"), backward("write_config", "10ed")],
    [
      "minidump_stackwalk, two functions",
      minidump("agent!ReadSensor [sensor.cc : 12 + 0x5]", 0, 46),
      minidump("agent!WriteConfig [config.cc : 12 + 0x5]", 0, 46),
    ],
    ["two functions under one handler", handled("read_sensor", "h"), handled("write_config", "h")],
    ["two crashed threads of many", threads("read_sensor"), threads("write_config")],
    ["boost, two functions", boost("read_sensor", 12), boost("write_config", 12)],
    ["Valgrind, two functions", valgrind("read_sensor", 12), valgrind("write_config", 12)],
    ["LLDB, two functions", lldb("read_sensor", "55d0"), lldb("write_config", "55d0")],
    [
      "glibc, two mangled names",
      glibc("_ZN5agent10readSensorEi+0x1d", "aa"),
      glibc("_ZN5agent11writeConfigEv+0x1d", "aa"),
    ],
    ["two lines of the kernel", segfault("c0d01180", "c0d01000"), segfault("c0d01990", "c0d01000")],
    ["two uncaught exceptions", terminated("std::out_of_range"), terminated("std::bad_alloc")],
    [
      "a bad access and an assertion",
      handled("read_sensor", "h"),
      handled("read_sensor", "h")
        .replace("#3 ", "#3  0x01 in __assert_fail () from /lib/libc.so.6\n#4 ")
        .replace("#4  0x000055550002", "#5  0x000055550002"),
    ],
  ],
});
