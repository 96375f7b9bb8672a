import { normaliseText } from "../words/normalise-text.ts";
import { fileName } from "./names.ts";
import type { Frame, StackFormat } from "./stack.ts";

/** A traceback of Lua or LuaJIT. */
export const lua: StackFormat = {
  kind: "lua",
  sign: (line) => line === "stack traceback:",
  parse(lines) {
    const begin = lines.indexOf("stack traceback:");
    const frames: Frame[] = [];
    for (const line of lines.slice(begin + 1)) {
      const match = /^\s{1,12}(.{1,300}?): in (.{1,200})$/.exec(line);
      if (match === null) break;
      const [, place = "", call = ""] = match;
      frames.push({
        symbol: `${sourceOf(place)}:${functionOf(call)}`,
        inApp: place !== "[C]" && place !== "(...tail calls...)",
      });
    }
    return { fault: faultOf(lines.slice(0, Math.max(0, begin))), frames };
  },
};

function sourceOf(place: string): string {
  return fileName(place.replace(/:\d{1,9}$/, "")).replace(/\.lua$/, "");
}

/** `function 'read'`, `method 'push' (upvalue …)`, `function <main.lua:12>`, `main chunk`. */
function functionOf(call: string): string {
  const name = /'([^']{1,150})'/.exec(call)?.[1];
  return name ?? call.replace(/<.{1,200}:(\d{1,9})>/, "<$1>");
}

/** What the interpreter says; the text of a program's own `error` may be anything. */
function faultOf(lines: readonly string[]): string {
  const text = lines.findLast((line) => line.trim() !== "") ?? "";
  const message = /:\d{1,9}: (.{1,300})$/.exec(text)?.[1] ?? "";
  const plain = message.replaceAll(/['"]/g, "");
  return /^(?:attempt to|bad argument|stack overflow|invalid)/.test(plain) ? normaliseText(plain) : "error";
}
