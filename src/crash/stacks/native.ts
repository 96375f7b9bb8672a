import { firstGroup } from "./first-group.ts";
import { fileName } from "./names.ts";
import { type NativeCall, readCall } from "./native-calls.ts";
import { isSystemCall, reportsAbort, signalHandler } from "./native-system.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * A stack of C, C++ or another compiled language, as GDB, LLDB, glibc, backward-cpp, Boost, glog, Abseil, the sanitizers,
 * Valgrind, Breakpad's minidump_stackwalk, systemd-coredump and Android's tombstones print it. Of several stacks in one text
 * that of the thread that crashed counts, or the first; of one with a signal handler in it what the signal came from.
 */
export const native: StackFormat = {
  kind: "native",
  sign: (line) => readCall(line) !== undefined || userFault.test(line),
  parse(lines) {
    const stack = crashed(stacksOf(lines));
    const builds = buildsOf(lines);
    const calls = afterHandler(stack).map((call) =>
      call.buildId === "" ? { ...call, buildId: builds.get(fileName(call.module)) ?? "" } : call,
    );
    const named = calls.some((call) => call.name !== "" && !isSystemCall(call));
    const frames = calls.filter(({ name }) => name !== "" || !named).flatMap(frameOf);
    return {
      fault: faultOf(lines, calls),
      frames: frames.length > 0 ? frames : userFaultOf(lines),
    } satisfies ParsedStack;
  },
};

/** systemd-coredump: `Module agent with build-id 226fc723efa2…`. */
function buildsOf(lines: readonly string[]): ReadonlyMap<string, string> {
  const builds = new Map<string, string>();
  for (const line of lines) {
    const match = /^\s{0,24}Module (\S{1,300}) with build-id ([0-9a-f]{4,64})\b/.exec(line);
    if (match !== null) builds.set(fileName(match[1] ?? ""), match[2] ?? "");
  }
  return builds;
}

interface Stack {
  readonly calls: NativeCall[];
  /** Whether the text says that this is the thread that crashed. */
  readonly isCrashed: boolean;
  last: number;
  /** Whether it is printed outermost first. */
  isDescending: boolean;
}

/** Headings of a thread begin a stack, and so does a number that does not follow the one before. */
function stacksOf(lines: readonly string[]): Stack[] {
  const stacks: Stack[] = [];
  const begin = (isCrashed: boolean): Stack => {
    const stack = { calls: [], isCrashed, last: Number.NaN, isDescending: false };
    stacks.push(stack);
    return stack;
  };
  let stack = begin(false);
  for (const line of lines) {
    if (threadHeading.test(line)) stack = begin(crashedThread.test(line));
    const call = readCall(line);
    if (call === undefined) continue;
    const { index } = call;
    if (index !== undefined && stack.calls.length > 0 && !follows(index, stack)) stack = begin(false);
    stack.last = index ?? stack.last;
    stack.calls.push(call);
  }
  return stacks.filter(({ calls }) => calls.length > 0);
}

const threadHeading = /^\s{0,8}(?:\* )?(?:Thread \d{1,6}\b|Stack trace of thread \d{1,10}|thread #\d{1,6})/;
/** GDB numbers the thread that crashed 1, Breakpad says so, LLDB marks it. */
const crashedThread = /^\s{0,8}(?:Thread 1 \(|Thread \d{1,6} \(crashed\)|Thread \d{1,6} Crashed|\* thread #)/;

function follows(index: number, stack: Stack): boolean {
  if (Number.isNaN(stack.last) || index > stack.last) return !stack.isDescending;
  // Inlined calls share the number of the function that they are in.
  if (index === stack.last - 1 && (stack.isDescending || stack.calls.length === 1)) {
    stack.isDescending = true;
    return true;
  }
  return false;
}

function crashed(stacks: readonly Stack[]): readonly NativeCall[] {
  const stack = stacks.find(({ isCrashed }) => isCrashed) ?? stacks[0];
  if (stack === undefined) return [];
  return stack.isDescending ? stack.calls.toReversed() : stack.calls;
}

/** Without the calls of a program's own handler of signals, which stand above what the signal came from. */
function afterHandler(calls: readonly NativeCall[]): readonly NativeCall[] {
  const handler = calls.findLastIndex(({ name }) => signalHandler.test(name));
  return handler >= 0 && handler < calls.length - 1 ? calls.slice(handler + 1) : calls;
}

function frameOf(call: NativeCall): Frame[] {
  const { name, module, offset, buildId, detail } = call;
  const inApp = !isSystemCall(call);
  if (name !== "") return [{ symbol: name, inApp, detail: namesNothing.test(name) ? detail : undefined }];
  if (offset === undefined) return module === "" ? [] : [{ symbol: fileName(module), inApp }];
  const build = buildId === "" ? "" : ` of ${buildId.slice(0, 12)}`;
  return [
    {
      symbol: `${fileName(module)}+0x${offset.toString(16)}${build}`,
      inApp,
      address: { module: fileName(module), buildId, offset },
    },
  ];
}

/** A closure whose enclosing function the text does not say. */
const namesNothing = /^(?:operator\(\)|<lambda.{0,200}|\{lambda.{0,200})$/;

function faultOf(lines: readonly string[], calls: readonly NativeCall[]): string {
  const known =
    firstGroup(lines, sanitizerFault) ??
    firstGroup(lines, uncaught) ??
    (firstGroup(lines, undefinedBehaviour) && "undefined behaviour");
  if (known !== undefined) return known;
  if (calls.some((call) => reportsAbort.test(call.name))) return "abort";
  // A bad access is what most crashes are, and what formats without the signal leave unsaid.
  const signal = firstGroup(lines, signalName) ?? "SIGSEGV";
  return signal === "SIGSEGV" ? "" : signal === "SIGABRT" ? "abort" : signal;
}

const sanitizerFault =
  /(?:ERROR|WARNING): (?:Address|Thread|Memory|Leak|HWAddress)Sanitizer: (?:attempting )?([A-Za-z-]{1,60}(?: race)?)/;
const uncaught = /^terminate called after throwing an instance of '([^']{1,200})'/;
const undefinedBehaviour = /:\d{1,9}: (runtime error): /;
const signalName = /\b(SIG(?:SEGV|ABRT|BUS|FPE|ILL|TRAP|SYS|KILL|XCPU))\b/;

/** `agent[123]: segfault at 0 ip 0000558d sp 00007ffc error 4 in agent[558d+1000]`, as the kernel logs it of a program. */
const userFault =
  /\b(segfault|general protection fault|trap \w{1,40}|divide error|invalid opcode)\b.{0,60}\bip[: ]([0-9a-f]{1,16}) .{0,80} in ([^\s[]{1,200})\[(?:([0-9a-f]{1,16}),)?([0-9a-f]{1,16})\+[0-9a-f]{1,16}\]/;

function userFaultOf(lines: readonly string[]): Frame[] {
  for (const line of lines) {
    const [, , pointer, module = "", given, base] = userFault.exec(line) ?? [];
    if (pointer === undefined) continue;
    const offset = given === undefined ? BigInt(`0x${pointer}`) - BigInt(`0x${base}`) : BigInt(`0x${given}`);
    return frameOf({ index: undefined, name: "", module, offset, buildId: "", path: "", detail: undefined });
  }
  return [];
}
