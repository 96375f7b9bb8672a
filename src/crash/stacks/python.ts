import { fileName, folderName } from "./names.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * A Python traceback, of CPython or MicroPython, and what `faulthandler` dumps. Frames come outermost first. Of chained
 * exceptions the cause counts if it is named as the cause; one that only happened meanwhile does not. Of a group the first
 * exception in it counts.
 */
export const python: StackFormat = {
  kind: "python",
  sign: (line) =>
    /Traceback \(most recent call last\):|^\s*File ".{1,500}", line \d|^Fatal Python error: /.test(line),
  parse(lines) {
    const plain = lines.map(withoutMargin);
    const sections = sectionsOf(plain);
    const own = ownPackage(sections.flatMap(({ calls }) => calls));
    const section = sections.find(({ fault }) => fault !== "") ?? sections[0];
    const cause = rootOf(sections) ?? section;
    if (cause === undefined) return { fault: "", frames: [] };
    return {
      fault: cause.fault,
      frames: cause.calls.map((call) => frameOf(call, own)),
    } satisfies ParsedStack;
  },
};

/** One traceback of a report. */
interface Section {
  fault: string;
  /** The innermost first. */
  calls: Call[];
  /** Which exception of a group it is, by the depth of its margin; 0 for one of no group. */
  readonly depth: number;
  /** Whether the one after it says that this was its cause. */
  isCause: boolean;
}

interface Call {
  readonly path: string;
  readonly name: string;
  /** The source line, if the text has it. */
  readonly source: string;
}

interface PlainLine {
  readonly text: string;
  readonly depth: number;
}

/** `  | ` and `  +-+---- 1 ----` stand before the lines of an exception group. */
function withoutMargin(line: string): PlainLine {
  const margin = /^ {0,40}[|+](?: |-[+-]{1,40}|$)/.exec(line);
  if (margin === null) return { text: line, depth: 0 };
  return { text: line.slice(margin[0].length), depth: line.search(/[|+]/) };
}

function sectionsOf(lines: readonly PlainLine[]): Section[] {
  const sections: Section[] = [];
  let indent = 0;
  let open = false;
  for (const [index, { text, depth }] of lines.entries()) {
    const begin = text.indexOf("Traceback (most recent call last):");
    if (begin >= 0 || text.endsWith("(most recent call first):")) {
      indent = text.length - text.trimStart().length;
      sections.push({ fault: "", calls: [], depth, isCause: false });
      open = true;
      continue;
    }
    let section = sections.at(-1);
    if (text.startsWith("The above exception was the direct cause") && section !== undefined)
      section.isCause = true;
    const fatal = /^Fatal Python error: (.{1,200})$/.exec(text)?.[1];
    if (fatal !== undefined)
      sections.push({ fault: fatal.split(/[:(]/, 1)[0] ?? fatal, calls: [], depth, isCause: false });
    const call = callOf(text, lines[index + 1]?.text ?? "");
    if (call !== undefined) {
      if (section === undefined) {
        section = { fault: "", calls: [], depth, isCause: false };
        sections.push(section);
        open = true;
      }
      if (recentFirst(text)) section.calls.push(call);
      else section.calls.unshift(call);
      continue;
    }
    const fault =
      open && section !== undefined ? faultOf(text.slice(Math.min(indent, text.length))) : undefined;
    if (fault !== undefined && section !== undefined) {
      section.fault = fault;
      open = false;
    }
  }
  return sections.filter(({ calls, fault }) => calls.length > 0 || fault !== "");
}

/** The dump of `faulthandler` has the innermost call first, and no comma before the function. */
function recentFirst(text: string): boolean {
  return /^\s*File ".{1,500}", line \d{1,9} in /.test(text);
}

/** `KeyError: 'a'`, `json.decoder.JSONDecodeError: …`, `KeyboardInterrupt`. */
function faultOf(text: string): string | undefined {
  return /^([A-Za-z_][\w.]{0,200})(?::\s|:?$)/.exec(text)?.[1];
}

function rootOf(sections: readonly Section[]): Section | undefined {
  const direct = sections.find(({ isCause }) => isCause);
  if (direct !== undefined) return direct;
  const [fatal] = sections;
  if (fatal !== undefined && fatal.calls.length === 0 && sections[1] !== undefined) {
    return { ...sections[1], fault: fatal.fault };
  }
  // The leaves of a group stand deeper than what they were gathered in, and behind it.
  const deepest = sections.reduce((most, { depth }) => Math.max(most, depth), 0);
  return deepest > 0
    ? sections.find(({ depth }) => depth === deepest)
    : sections.findLast(({ fault }) => fault !== "");
}

function callOf(text: string, next: string): Call | undefined {
  const match = /^\s*File "(.{1,500})", line \d{1,9}(?:,? in (\S{1,200}))?/.exec(text);
  if (match === null || match[2] === undefined) return undefined;
  const isSource = /^\s{4}/.test(next) && !/^\s*File "/.test(next);
  return {
    path: match[1] ?? "",
    name: match[2],
    source: isSource ? next.trim().replaceAll(/\s{1,100}/g, " ") : "",
  };
}

function frameOf({ path, name, source }: Call, own: string): Frame {
  const installed = installedPath(path);
  const standard =
    installed === undefined && /^<frozen |[/\\]lib(?:64|32)?[/\\](?:python|pypy)\d/i.test(path);
  return {
    symbol: `${moduleOf(installed ?? path, installed !== undefined)}.${name}`,
    inApp: installed === undefined ? !standard && !isLauncher(path) : packageOf(installed) === own,
    detail: name.startsWith("<") && source !== "" ? source : undefined,
  };
}

/** The path below the folder of installed packages. */
function installedPath(path: string): string | undefined {
  const match = /[/\\](?:site|dist)-packages[/\\]/.exec(path);
  return match === null ? undefined : path.slice(match.index + match[0].length);
}

function packageOf(installed: string): string {
  return (installed.split(/[/\\]/, 1)[0] ?? "").replace(/\.py[co]?$/, "");
}

/** What only starts a program that was installed as a package. */
function isLauncher(path: string): boolean {
  return /[/\\](?:s?bin|Scripts)[/\\][^/\\]{1,200}$|^<(?:string|stdin|frozen )/.test(path);
}

/** A program that was itself installed as a package: the outermost one that is no well-known library; otherwise empty. */
function ownPackage(calls: readonly Call[]): string {
  const paths = calls.map(({ path }) => path).toReversed();
  const isAlone = paths.every(
    (path) =>
      installedPath(path) !== undefined ||
      isLauncher(path) ||
      /[/\\]lib(?:64|32)?[/\\](?:python|pypy)\d|^<frozen /i.test(path),
  );
  if (!isAlone) return "";
  const packages = paths
    .map(installedPath)
    .filter((path) => path !== undefined)
    .map(packageOf);
  return packages.find((name) => !libraries.has(name)) ?? packages[0] ?? "";
}

/** Servers, runners and libraries in which a program's own code is called, or which it calls. */
const libraries: ReadonlySet<string> = new Set(
  (
    "gunicorn uvicorn hypercorn waitress werkzeug flask django starlette fastapi aiohttp tornado twisted celery kombu billiard " +
    "click typer fire anyio trio sniffio gevent eventlet greenlet requests urllib3 httpx httpcore certifi idna yaml paho " +
    "aiomqtt serial pymodbus bleak dbus_next sqlalchemy pydantic pydantic_core numpy pandas scipy jinja2 attr attrs redis " +
    "google grpc websockets websocket zmq psutil sentry_sdk structlog loguru tenacity apscheduler schedule pkg_resources"
  ).split(" "),
);

function moduleOf(path: string, isInstalled: boolean): string {
  const plain = path.replace(/\.py[co]?$/, "");
  if (isInstalled) return plain.replaceAll(/[/\\]/g, ".").replace(/\.__init__$/, "");
  const name = fileName(plain);
  return name === "__init__" || name === "__main__" ? folderName(plain) : name;
}
