import { cppName } from "./cpp-names.ts";

/** One call as a line of a native stack tells it. */
export interface NativeCall {
  /** As numbered in the text; undefined in formats that number none. */
  readonly index: number | undefined;
  /** Normalised, without parameters; empty if the text has none. */
  readonly name: string;
  /** The program or library, with its folder; empty if the text does not say. */
  readonly module: string;
  /** In the module. */
  readonly offset: bigint | undefined;
  readonly buildId: string;
  /** Of the source; empty if the text does not say. */
  readonly path: string;
  /** The column, or without one the line. */
  readonly detail: string | undefined;
}

/** Reads a line in whichever format it is; undefined if it is no call. */
export function readCall(line: string): NativeCall | undefined {
  for (const read of readers) {
    const call = read(line);
    if (call !== undefined) return call;
  }
  return undefined;
}

/** The more particular first. */
const readers: readonly ((line: string) => NativeCall | undefined)[] = [
  backwardCall,
  tombstoneCall,
  coredumpCall,
  lldbCall,
  numberedCall,
  boostCall,
  minidumpCall,
  appleCall,
  valgrindCall,
  glogCall,
  glibcCall,
];

const none = {
  index: undefined,
  name: "",
  module: "",
  offset: undefined,
  buildId: "",
  path: "",
  detail: undefined,
};

/** backward-cpp: `#1    Source "/src/main.cpp", line 40, in main [0x55d0]`, `#2    Object "/lib/libc.so.6", at 0x71, in main`. */
function backwardCall(line: string): NativeCall | undefined {
  const match =
    /^\s{0,12}#(\d{1,4})\s{1,8}(Source|Object) "(.{0,500}?)", (?:line (\d{1,9})|at 0x[0-9a-f]{1,16}), in ?(.{0,500})$/.exec(
      line,
    );
  if (match === null) return undefined;
  const [, index, sort, path = "", row, rest = ""] = match;
  const name = cppName(rest.replace(/ \[0x[0-9a-f]{1,16}\]$/, ""));
  return sort === "Source"
    ? { ...none, index: Number(index), name, path, detail: row }
    : { ...none, index: Number(index), name, module: path };
}

/** Android: `#00 pc 00000000000a1b2c  /system/lib64/libagent.so (readSensor+24) (BuildId: 8f3e)`. */
function tombstoneCall(line: string): NativeCall | undefined {
  const match = /^\s{0,12}#(\d{1,4})\s{1,4}pc (?:0x)?([0-9a-f]{1,16})\s{1,4}(\S{1,500})(.{0,500})$/.exec(
    line,
  );
  if (match === null) return undefined;
  const [, index, offset = "0", module = "", rest = ""] = match;
  const notes = rest.trim().slice(1, -1).split(") (");
  const name = notes.find((note) => !/^(?:offset |BuildId: )/.test(note)) ?? "";
  return {
    ...none,
    index: Number(index),
    name: cppName(name.replace(/\+\d{1,12}$/, "")),
    module,
    offset: BigInt(`0x${offset}`),
    buildId: buildIdIn(rest),
  };
}

/** systemd-coredump: `#0  0x00007f1c read_sensor (agent + 0x1139)`, `#1  0x00007f1c n/a (/usr/bin/agent (deleted) + 0x1)`. */
function coredumpCall(line: string): NativeCall | undefined {
  const match =
    /^\s{0,24}#(\d{1,4})\s{1,4}0x[0-9a-f]{1,16} (\S.{0,400}?) \((\S{1,300})(?: \(deleted\))? \+ 0x([0-9a-f]{1,16})\)$/.exec(
      line,
    );
  if (match === null) return undefined;
  const [, index, name = "", module = "", offset] = match;
  return {
    ...none,
    index: Number(index),
    name: name === "n/a" ? "" : cppName(name),
    module: module === "n/a" ? "" : module,
    offset: BigInt(`0x${offset}`),
  };
}

/** LLDB: ``  * frame #0: 0x0000 agent`read_sensor(s=0x0) at sensor.c:12:9``. */
function lldbCall(line: string): NativeCall | undefined {
  const match = /^\s{0,8}(?:\* )?frame #(\d{1,4}): 0x[0-9a-f]{1,16} ([^`\s]{1,300})`(.{1,500})$/.exec(line);
  if (match === null) return undefined;
  const [, index, module = "", call = ""] = match;
  return {
    ...none,
    index: Number(index),
    module,
    name: cppName(call.split(" + ", 1)[0] ?? ""),
    ...sourceIn(call),
  };
}

/** GDB, the sanitizers, Dart: `#1  0x0000 in read (s=0x0) at main.c:9`, `#1 0x55 in read /src/a.c:9:3`, `#2 0x55  (lib.so+0x1)`. */
function numberedCall(line: string): NativeCall | undefined {
  const match = /^\s{0,24}#(\d{1,4})\s{1,8}(\S.{0,900})$/.exec(line);
  if (match === null) return undefined;
  const [, index, text = ""] = match;
  const body = text.replace(/^0x[0-9a-f]{1,16}\s{0,4}(?:in )?\s{0,4}/, "");
  // PHP numbers its calls so too: `#0 /srv/a.php(9): read()`, `#1 {main}`.
  if (/^[/{]/.test(body)) return undefined;
  const module = /\(([^()\s]{1,500})\+0x([0-9a-f]{1,16})\)/.exec(body);
  const path = module?.[1] ?? / from (\S{1,500})/.exec(body)?.[1] ?? "";
  return {
    ...none,
    index: Number(index),
    name: cppName(body),
    module: path,
    offset: module === null ? undefined : BigInt(`0x${module[2]}`),
    buildId: buildIdIn(body),
    ...sourceIn(body),
  };
}

/** Boost and C++23: ` 0# read_sensor(int) at /src/sensor.cpp:12`, ` 1# 0x00007F in /usr/bin/agent`. */
function boostCall(line: string): NativeCall | undefined {
  const match = /^\s{0,4}(\d{1,4})# (\S.{0,900})$/.exec(line);
  if (match === null) return undefined;
  const [, index, text = ""] = match;
  const module = / in (\/\S{1,300})$/.exec(text)?.[1] ?? "";
  const name = /^0x[0-9a-fA-F]{1,16}/.test(text) ? "" : cppName(text.replace(/ in \/\S{1,300}$/, ""));
  return { ...none, index: Number(index), name, module, ...sourceIn(text) };
}

/** Breakpad: ` 0  agent!ReadSensor [sensor.cc : 12 + 0x5]`, ` 1  libc.so.6 + 0x2a1`, ` 2  agent!main + 0x10`. */
function minidumpCall(line: string): NativeCall | undefined {
  const match =
    /^\s{0,4}(\d{1,4})\s{1,4}([^\s!]{1,200})(?:!(.{1,500}?))?(?: \[(\S{1,300}) : (\d{1,9}) \+ 0x[0-9a-f]{1,16}\])?(?: \+ 0x([0-9a-f]{1,16}))?$/.exec(
      line,
    );
  if (match === null) return undefined;
  const [, index, module = "", name = "", path = "", row, offset] = match;
  if (name === "" && offset === undefined) return undefined;
  return {
    ...none,
    index: Number(index),
    module,
    name: cppName(name),
    path,
    detail: row,
    offset: name === "" ? BigInt(`0x${offset}`) : undefined,
  };
}

/** Apple: `0   agent    0x000000010e1c1234 readSensor + 24`. */
function appleCall(line: string): NativeCall | undefined {
  const match =
    /^(\d{1,4})\s{1,4}(\S{1,200})\s{1,60}0x[0-9a-f]{8,16} (\S.{0,400}) \+ (\d{1,12})(?: \(\S{1,200}\))?$/.exec(
      line,
    );
  if (match === null) return undefined;
  const [, index, module = "", name = "", offset = "0"] = match;
  return name.startsWith("0x")
    ? { ...none, index: Number(index), module, offset: BigInt(offset) }
    : { ...none, index: Number(index), module, name: cppName(name) };
}

/** Valgrind: `==123==    at 0x40053E: read_sensor (sensor.c:12)`, `==123==    by 0x400558: main (in /usr/bin/agent)`. */
function valgrindCall(line: string): NativeCall | undefined {
  const match =
    /^==\d{1,10}==\s{1,8}(?:at|by) 0x[0-9A-F]{1,16}: (\S.{0,400}) \((?:in (\S{1,300})|(\S{1,300}):(\d{1,9}))\)$/.exec(
      line,
    );
  if (match === null) return undefined;
  const [, name = "", module = "", path = "", row] = match;
  return { ...none, name: name === "???" ? "" : cppName(name), module, path, detail: row };
}

/** glog and Abseil: `PC: @     0x55d0  (unknown)  ReadSensor()`, `    @     0x55d0  32  main`, `    @     0x4005f6 main`. */
function glogCall(line: string): NativeCall | undefined {
  const match =
    /^(?:PC:|\*{3})?\s{0,8}@\s{1,20}0x[0-9a-f]{1,16}\s{1,4}(?:(?:\(unknown\)|\d{1,9})\s{1,4})?(\S.{0,500})$/.exec(
      line,
    );
  if (match === null) return undefined;
  const name = match[1] ?? "";
  return { ...none, name: name === "(unknown)" ? "" : cppName(name) };
}

/** glibc: `module(function+0x1d)[0x55e5]`, `module(+0x11b4) [0x55e5]` or `module [0x55e5]`. */
function glibcCall(line: string): NativeCall | undefined {
  const address = line.lastIndexOf("[0x");
  if (address < 1 || !line.endsWith("]")) return undefined;
  const text = line.slice(0, address).trim();
  const open = text.lastIndexOf("(");
  const module = open < 0 ? text : text.slice(0, open);
  if (module === "" || /[\s"]/.test(module)) return undefined;
  const inside = open < 0 ? "" : text.slice(open + 1, text.endsWith(")") ? -1 : undefined);
  const plus = inside.lastIndexOf("+");
  const offset = /^0x([0-9a-f]{1,16})$/.exec(plus < 0 ? "" : inside.slice(plus + 1))?.[1];
  const name = cppName(plus < 0 ? inside : inside.slice(0, plus));
  return {
    ...none,
    name,
    module,
    offset: name !== "" || offset === undefined ? undefined : BigInt(`0x${offset}`),
  };
}

function buildIdIn(text: string): string {
  return (/BuildId: ([0-9a-fA-F]{4,64})\)/.exec(text)?.[1] ?? "").toLowerCase();
}

function sourceIn(text: string): { path: string; detail: string | undefined } {
  const match =
    /(?: at | in |\s|^)(\/?[^\s():]{1,400}\.[A-Za-z+]{1,4}):(\d{1,9})(?::(\d{1,9}))?(?: \[.{0,40}\])?$/.exec(
      text,
    );
  return { path: match?.[1] ?? "", detail: match?.[3] ?? match?.[2] };
}
