import { fileName } from "./names.ts";
import type { NativeCall } from "./native-calls.ts";

/** Whether a call is the system's, a runtime's or a common library's: not where to look for the fault. */
export function isSystemCall({ name, module, path }: Pick<NativeCall, "name" | "module" | "path">): boolean {
  return systemFunctions.test(name) || isSystemModule(module) || systemSource.test(path);
}

/** Where a signal interrupted the program. */
export const signalHandler =
  /^(?:<signal handler called>|__restore_rt|__kernel_rt_sigreturn|_sigtramp|killpg)$/;

/** A program that ended itself, or was ended by its runtime. */
export const reportsAbort =
  /^(?:_{0,4}(?:GI_)?abort|_{0,4}(?:GI_)?raise|gsignal|__assert.{0,40}|__fortify_fail.{0,40}|__stack_chk_fail.{0,40}|malloc_printerr|std::terminate|__gnu_cxx::__verbose_terminate_handler|_ZSt9terminatev)$/;

function isSystemModule(path: string): boolean {
  if (path === "") return false;
  return /^\[|^\/apex\/com\.android\.|^linux-(?:vdso|gate)/.test(path) || systemLibrary.test(fileName(path));
}

const systemLibrary =
  /^(?:libc|libc\+\+|libc\+\+abi|libc\+\+_shared|libpthread|ld|ld-linux.{0,20}|ld-musl.{0,20}|ld-uClibc.{0,20}|libuClibc.{0,20}|linker|linker64|libstdc\+\+|libgcc_s|libm|librt|libdl|libasan|libtsan|libubsan|libunwind|libart|libandroid_runtime|libbinder|libutils|libhwui|liblog|app_process(?:32|64)?|boot.{0,60}|libglib-2|libgobject-2|libgio-2|libQt[56]\w{1,40}|libboost_\w{1,60}|libuv|libevent.{0,20}|libcurl|libssl|libcrypto|libsqlite3|libz|libdbus-1|libsystemd|libsystem_\w{1,40}|dyld|musl|coreclr|libcoreclr)(?:[.-]|$)/;

/** Where distributions build glibc, GCC and the sanitizers. */
const systemSource =
  /^(?:\.\.\/sysdeps|\.\.\/csu|\.\.\/nptl|\.\/nptl|\.\/malloc|\.\/stdlib|\.\/csu|\.\/debug|\.\/assert|(?:\.\.\/){2,6}src\/lib)|\/libsanitizer\/|\/compiler-rt\/|\/include\/c\+\+\/|\/bits\/[\w.]{1,60}$/;

/** Calls of libc, libpthread, the C++ runtime and the sanitizers, by which a fault is reported or a program started. */
const systemFunctions =
  /^(?:_start|__libc_.*|__GI_.*|_{0,4}start_thread|_{0,4}clone3?|_{0,4}raise|_{0,4}gsignal|_{0,4}abort|_{0,4}kill|_{0,4}tgkill|pthread_kill.*|__pthread_.*|_{0,4}sigaction|__restore_rt|__kernel_.*sigreturn.*|<signal handler called>|malloc_printerr|_int_(?:free|malloc|realloc)|malloc_consolidate|_{0,4}free|_{0,4}malloc|_{0,4}calloc|_{0,4}realloc|mem(?:cpy|move|set|cmp|chr)|str(?:n?cpy|n?len|n?cmp|cat|chr|dup|str)|__(?:mem|str)\w{1,20}_(?:avx|evex|sse|erms|neon|generic|aarch64|unaligned)\w{0,40}|v?[sf]?n?printf|__assert.*|__fortify_fail.*|__chk_fail|__\w{1,20}_chk|__stack_chk_fail.*|__(?:interceptor|asan|sanitizer|ubsan|tsan|hwasan|msan)_.*|__cxa_.*|_{0,4}Unwind_.*|(?:std|__gnu_cxx|__cxxabiv1|boost|absl|google|backward)::.*|_ZSt.*|_ZNSt.*|_ZNKSt.*|_ZN10__cxxabiv1.*|_ZN9__gnu_cxx.*|backtrace|backtrace_symbols.*|operator (?:new|delete).*|art_quick_.*|art::.*)$/;
