import type { ParsedStack } from "./frame.ts";
import { fileName, normaliseSymbol } from "./normalise.ts";

/**
 * Reads the formats of glibc's `backtrace_symbols`, GDB's `bt` and AddressSanitizer. Several stacks in one text (of other
 * threads, of where the memory was freed) begin again at #0: only the first counts.
 */
export function parseNativeStack(lines: readonly string[]): ParsedStack {
  const frames: NativeFrame[] = [];
  let fault = "";
  let last = -1;
  for (const line of lines) {
    fault ||= sanitizerFault.exec(line)?.[1] ?? "";
    const numbered = numberedLine.exec(line);
    if (numbered === null) {
      const frame = glibcFrame(line);
      if (frame !== undefined) frames.push(frame);
      continue;
    }
    const index = Number(numbered[1]);
    if (index <= last) break;
    last = index;
    frames.push(numberedFrame(numbered[2] ?? ""));
  }
  // A stripped program still tells the place by the offset in its module, which no address randomisation moves.
  const named = frames.some(({ name, inApp }) => inApp && name !== "");
  return {
    fault: fault.trim(),
    frames: frames
      .filter(({ name }) => name !== "" || !named)
      .map(({ name, place, inApp }) => ({ symbol: name === "" ? place : name, inApp })),
  };
}

interface NativeFrame {
  readonly name: string;
  /** Module and offset, for a frame without a name. */
  readonly place: string;
  readonly inApp: boolean;
}

const sanitizerFault =
  /ERROR: (?:Address|Thread|Memory|Leak|HWAddress)Sanitizer: (?:attempting )?([A-Za-z-]{1,60})/;
const numberedLine = /^\s*#(\d{1,4})\s+(.{1,2000})$/;

function numberedFrame(text: string): NativeFrame {
  // With or without its address: `0x55d0 in read (s=0x0) at main.c:9`, `read (s=0x0) at main.c:9`, `0x55d0  (lib.so+0x1)`.
  const body = text.replace(/^0x[0-9a-f]+\s+(?:in\s+)?/, "");
  const module = /\(([^()\s]{1,500})\+(0x[0-9a-f]+)\)/.exec(body);
  const from = / from (\S{1,500})/.exec(body)?.[1] ?? module?.[1] ?? "";
  const name = functionName(body);
  return {
    name,
    place: module === null ? "?" : `${fileName(module[1] ?? "")}+${module[2]}`,
    inApp: !systemFunctions.test(name) && !isSystemModule(from) && !isSystemSource(body),
  };
}

/** `module(function+0x1d)[0x55e5]`, `module(+0x11b4) [0x55e5]` or `module [0x55e5]`. */
function glibcFrame(line: string): NativeFrame | undefined {
  const address = line.lastIndexOf("[0x");
  if (address < 1) return undefined;
  const text = line.slice(0, address).trim();
  const open = text.lastIndexOf("(");
  const module = open < 0 ? text : text.slice(0, open);
  if (module === "" || /\s/.test(module)) return undefined;
  const inside = open < 0 ? "" : text.slice(open + 1, text.endsWith(")") ? -1 : undefined);
  const plus = inside.lastIndexOf("+");
  const name = normaliseSymbol(plus < 0 ? inside : inside.slice(0, plus));
  return {
    name,
    place: `${fileName(module)}${plus < 0 ? "" : inside.slice(plus)}`,
    inApp: !isSystemModule(module) && !systemFunctions.test(name),
  };
}

/** What stands before the arguments and the place. Parentheses that belong to the name stay. */
function functionName(body: string): string {
  if (body.startsWith("(")) return body.startsWith("(anonymous namespace)") ? cutAtArguments(body) : "";
  if (body.startsWith("<signal handler called>")) return "<signal handler called>";
  return cutAtArguments(body);
}

function cutAtArguments(body: string): string {
  let end = body.length;
  for (let at = body.indexOf("("); at >= 0; at = body.indexOf("(", at + 1)) {
    if (body.startsWith("(anonymous namespace)", at)) continue;
    if (body.endsWith("operator", at) || body.slice(Math.max(0, at - 8), at) === "operator") continue;
    end = at;
    break;
  }
  const place = / (?:at |from |\/|\.\.?\/|<null>)/.exec(body)?.index ?? end;
  const name = normaliseSymbol(body.slice(0, Math.min(end, place)));
  return name === "??" ? "" : name;
}

const systemModule =
  /(?:^|\/)(?:libc|libc\+\+|libc\+\+abi|libpthread|ld|ld-linux|ld-musl|libstdc\+\+|libgcc_s|libm|librt|libdl|libasan|libtsan|libubsan|libunwind|linux-vdso|linux-gate)[.-]|^\[(?:stack|vdso|heap)\]/;

function isSystemModule(path: string): boolean {
  return systemModule.test(path);
}

/** Where distributions build glibc, GCC and the sanitizers. */
const systemSource =
  / (?:at )?(?:\.\.\/sysdeps|\.\.\/csu|\.\.\/nptl|\.\/nptl|\.\/malloc|\.\/stdlib|\.\/csu|\.\/debug|\.\/assert|(?:\.\.\/){2,6}src\/lib|.{0,200}\/libsanitizer\/)/;

function isSystemSource(body: string): boolean {
  return systemSource.test(body);
}

/** Calls of libc, libpthread, the C++ runtime and the sanitizers, by which a fault is reported or a program started. */
const systemFunctions =
  /^(?:_start|__libc_.*|__GI_.*|_+start_thread|start_thread|_*clone3?|_*raise|_*gsignal|_*abort|_*kill|_*tgkill|pthread_kill.*|__pthread_.*|_*sigaction|__restore_rt|__kernel_.*sigreturn.*|<signal handler called>|malloc_printerr|_int_(?:free|malloc|realloc)|malloc_consolidate|_*free|_*malloc|_*calloc|_*realloc|__assert.*|__fortify_fail.*|__chk_fail|__stack_chk_fail.*|__(?:interceptor|asan|sanitizer|ubsan|tsan)_.*|__cxa_.*|_*Unwind_.*|std::terminate.*|std::__throw_.*|__gnu_cxx::__verbose_terminate_handler.*|__cxxabiv1::.*|_ZSt9terminatev|_ZN10__cxxabiv1.*|_ZN9__gnu_cxx27__verbose.*|backtrace|backtrace_symbols.*|operator (?:new|delete).*)$/;
