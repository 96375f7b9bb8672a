import { normaliseText } from "../words/normalise-text.ts";
import { fileName, normaliseSymbol } from "./names.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * An Error of V8, as Node.js prints it, or of QuickJS, Hermes, JavaScriptCore and SpiderMonkey. Of errors with causes the
 * innermost counts: its frames are complete. Where the place has no name of its own, as in a callback or a minified bundle,
 * its column and the engine's own words tell it from others of the file.
 */
export const javaScript: StackFormat = {
  kind: "javascript",
  sign: (line) => v8Line.test(line) || geckoLine.test(line),
  parse(lines) {
    let found: Thrown = { fault: "", message: "" };
    let candidate: Thrown | undefined;
    let calls: Call[] = [];
    let inFrames = false;
    for (const line of lines) {
      const call = callOf(line);
      if (call === undefined) {
        if (/^\s{1,20}\.\.\. \d{1,5} lines/.test(line)) continue;
        candidate = thrownIn(line) ?? candidate;
        inFrames = false;
        continue;
      }
      if (!inFrames && (candidate !== undefined || calls.length === 0)) {
        found = candidate ?? found;
        calls = [];
      }
      candidate = inFrames ? candidate : undefined;
      inFrames = true;
      calls.push(call);
    }
    const message = engineErrors.test(found.fault) ? found.message : "";
    return { fault: found.fault, frames: calls.map((call) => frameOf(call, message)) } satisfies ParsedStack;
  },
};

interface Thrown {
  readonly fault: string;
  /** Normalised, with the names in it. */
  readonly message: string;
}

interface Call {
  /** Empty for a function without a name. */
  readonly name: string;
  readonly path: string;
  readonly line: number;
  readonly column: string;
}

/** `    at read (/srv/a.js:1:2)`, `    at /srv/a.js:1:2`, `    at Promise.all (index 0)`, `    at read (native)`. */
const v8Line =
  /^\s{1,20}at (?:\S.{0,800}:\d{1,9}(?::\d{1,9})?\)?|\S.{0,400} \((?:<anonymous>|native|index \d{1,6})\)|<anonymous>)(?: \{)?$/;
/** `read@/app/main.js:10:5`, `@/app/main.js:10`. */
const geckoLine = /^(?:async\*)?[^\s@]{0,200}@[^\s@]{0,500}:\d{1,9}(?::\d{1,9})?$/;

const thrown =
  /^(?:\s{0,8}\[?(?:cause|errors)\]?: )?(?:Uncaught (?:\(in promise\) )?)?\[?((?:[A-Za-z_$][\w$.]{0,100})?(?:Error|Exception))(?: \[\w{1,60}\])?(?:: (.{0,300})|\b)/;

function thrownIn(line: string): Thrown | undefined {
  const match = thrown.exec(line);
  return match === null
    ? undefined
    : { fault: match[1] ?? "", message: normaliseText(named(match[2] ?? "")) };
}

/** The names of properties that an engine quotes say what is wrong. */
function named(message: string): string {
  return message.replaceAll(/['"`]/g, "");
}

const engineErrors = /^(?:Type|Reference|Syntax|Range)Error$/;

function callOf(line: string): Call | undefined {
  if (v8Line.test(line)) return v8Call(line);
  if (!geckoLine.test(line)) return undefined;
  const at = line.lastIndexOf("@");
  return callAt(line.slice(0, at).replace(/^async\*/, ""), line.slice(at + 1));
}

function v8Call(line: string): Call {
  const text = line
    .trim()
    .slice("at ".length)
    .replace(/ \{$/, "")
    .replace(/^async /, "");
  const open = text.endsWith(")") ? text.indexOf(" (") : -1;
  if (open < 0) return callAt("", text);
  const place = text.slice(open + 2, -1).replace(/^address at /, "");
  const name = text.slice(0, open);
  const plain = name.replace(/ \[as [^\]]{1,100}\]$/, "").replace(/^new /, "");
  // What `eval` runs has no file: where in its text, behind the place of the call to it.
  return callAt(
    plain,
    place.startsWith("eval at ")
      ? place.slice(place.lastIndexOf(", ") + 2).replace("<anonymous>", "eval")
      : place,
  );
}

function callAt(name: string, place: string): Call {
  const match = /:(\d{1,9})(?::(\d{1,9}))?$/.exec(place);
  const path = match === null ? place : place.slice(0, match.index);
  return { name, path, line: Number(match?.[1] ?? 0), column: match?.[2] ?? match?.[1] ?? "" };
}

function frameOf(call: Call, message: string): Frame {
  const { name, path, line, column } = call;
  const plain = normaliseSymbol(name.replaceAll(/webpack:\/\/[\w@.-]{0,100}/g, ""));
  const minified = isMinified(path, line, column);
  const hasName = plain !== "" && !namesNothing.test(plain) && !(minified && plain.length <= 3);
  const detail = hasName ? undefined : [column, ...(message === "" ? [] : [message])].join(" ");
  return {
    symbol: `${fileName(path).replace(/\.[cm]?[jt]sx?$/, "")}:${hasName || !minified ? plain || "<anonymous>" : "<anonymous>"}`,
    inApp: isOwn(path) && !helper.test(plain),
    detail,
  };
}

/** A bundle has everything in its first lines. */
function isMinified(path: string, line: number, column: string): boolean {
  return (line <= 5 && Number(column) > 300) || /\.min\.js$|\.bundle$/.test(path);
}

const namesNothing = /(?:^|\.)(?:<anonymous>|anonymous|\(anonymous\)|global|<global>|<eval>|eval)$/;

function isOwn(path: string): boolean {
  return (
    !/^(?:<anonymous>|native|index \d{1,6}|node|bootstrap_node|timers|events|evalmachine.{0,40}|InternalBytecode\.js|self-hosted|\[native code\])$/.test(
      path,
    ) &&
    !/^node:|^internal\/|[/\\]node_modules[/\\]|\(webpack\)|webpack\/bootstrap|^chrome-extension:/.test(path)
  );
}

/** What compilers of TypeScript and of async functions put in between. */
const helper =
  /(?:^|\.)(?:__awaiter|__generator|asyncGeneratorStep|_asyncToGenerator|tryCatch|__webpack_require__|regeneratorRuntime.{0,60}|fulfilled|rejected)$/;
