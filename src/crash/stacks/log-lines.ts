/** Lines of a report that are looked at, far more than any runtime prints frames. */
const maxLines = 1_000;

/** Characters of a line that are looked at: a C++ or Rust name with all its type parameters. */
export const maxLineLength = 1_000;

/**
 * The lines of a report as the program wrote them: without colours, carriage returns, and what loggers, containers, syslog,
 * the journal, logcat and the kernel put before each line. Indentation after that stays. At most {@link maxLines} lines of
 * {@link maxLineLength} characters.
 */
export function plainLines(text: string): string[] {
  const lines = text.includes("\n")
    ? text
    : text.replaceAll(String.raw`\n`, "\n").replaceAll(String.raw`\t`, "\t");
  return lines.split("\n", maxLines).map(plainLine);
}

function plainLine(line: string): string {
  const text = withoutEscapes(unwrapped(line.slice(0, maxRawLength))).slice(0, maxLineLength);
  return text.slice(prefixLength(text)).trimEnd();
}

/** Characters of a line before its colours and the like are taken off. */
const maxRawLength = 4 * maxLineLength;

/** Docker's json-file and loggers that write a JSON object a line keep the text in a field. */
function unwrapped(line: string): string {
  if (!line.startsWith('{"')) return line;
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    const text = entry["log"] ?? entry["message"] ?? entry["msg"] ?? entry["MESSAGE"];
    return typeof text === "string" ? text : line;
  } catch {
    return line;
  }
}

const escape = "\u001B";
const bell = "\u0007";

/** Without the escape sequences of terminals (ECMA-48), also as rsyslog writes control characters: `#033[0m`, `#011`. */
function withoutEscapes(raw: string): string {
  const line = raw.includes("#0") ? raw.replaceAll("#033", escape).replaceAll("#011", "\t") : raw;
  let at = line.indexOf(escape);
  if (at < 0) return line;
  let plain = "";
  let from = 0;
  while (at >= 0) {
    plain += line.slice(from, at);
    from = endOfEscape(line, at + 1);
    at = line.indexOf(escape, from);
  }
  return plain + line.slice(from);
}

/** Where the sequence ends whose introducer stands before `at`. */
function endOfEscape(line: string, at: number): number {
  const introducer = line[at];
  let end = at + 1;
  if (introducer === "[") {
    while (end < line.length && line.charCodeAt(end) >= 0x20 && line.charCodeAt(end) < 0x40) end++;
    return end + 1;
  }
  if (introducer === "]") {
    while (end < line.length && line[end] !== bell && line[end] !== escape) end++;
    return line[end] === escape ? end + 2 : end + 1;
  }
  return end;
}

/** The length of what was put before a line: up to {@link maxPrefixes} of them, and one blank after the last. */
function prefixLength(line: string): number {
  let end = 0;
  let allowed: readonly Prefixes[] = [times, marks];
  for (let count = 0; count < maxPrefixes; count++) {
    const found = longest(line, end, allowed);
    if (found === undefined) break;
    end = found.end;
    allowed = found.of.followedBy.map((name) => followers[name]);
  }
  return end > 0 && line[end] === " " ? end + 1 : end;
}

/** Container, syslog, kernel and program may each have added one or two. */
const maxPrefixes = 6;

function longest(
  line: string,
  from: number,
  allowed: readonly Prefixes[],
): { readonly end: number; readonly of: Prefixes } | undefined {
  let found: { readonly end: number; readonly of: Prefixes } | undefined;
  for (const prefixes of allowed) {
    for (const expression of prefixes.expressions) {
      expression.lastIndex = from;
      if (expression.test(line) && expression.lastIndex > (found?.end ?? from)) {
        found = { end: expression.lastIndex, of: prefixes };
      }
    }
  }
  return found;
}

/** What may stand before a line, and what may follow it. */
interface Prefixes {
  readonly expressions: readonly RegExp[];
  readonly followedBy: readonly (keyof typeof followers)[];
}

/** Each is tried at one place, and every repetition in it is bounded and ends where no other can begin. */
const marks: Prefixes = {
  followedBy: ["times", "marks"],
  expressions: [
    // docker compose: `agent-1  | `
    /[\w.-]{1,60} {1,20}\| ?/y,
    // syslog's priority, with the version of RFC 5424
    /<\d{1,3}>(?:1(?= ))?/y,
    // the kernel's clock, and `dmesg -T`
    / ?\[ {0,12}\d{1,12}\.\d{1,9}\](?:\[ {0,8}[TC]\d{1,8}\])?/y,
    / ?\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} {1,2}\d{1,2} \d{2}:\d{2}:\d{2} \d{4}\]/y,
    / ?kernel:/y,
    // Zephyr: `[00:00:00.000,183] <err> os:`, or without a clock `E: `
    /\[\d{2,4}:\d{2}:\d{2}\.\d{3}(?:,\d{3})?\](?: <(?:err|wrn|inf|dbg)> [\w.-]{1,60}:)?/y,
    /[EWID]: (?=[ *>\w])/y,
    // ESP-IDF: `E (10303) task_wdt:`
    /[EWIDV] \(\d{1,12}\) [\w.-]{1,60}:/y,
    // Android: brief, process and long
    / ?[VDIWEFA]\/[^(:]{1,60}\( {0,6}\d{1,7}(?::\s?0x[0-9a-f]{1,8})?\):/y,
    /[VDIWEFA]\( {0,6}\d{1,7}\)/y,
    /\[ (?:\d{4}-)?\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3,6} {1,6}\d{1,7}: {0,6}\d{1,7} [VDIWEFA]\/[^\]]{1,60}\]$/y,
    // glog and klog: `E0105 12:00:00.123456  1234 main.cc:12]`
    /[IWEF]\d{4}(?:\d{4})? \d{2}:\d{2}:\d{2}\.\d{6} {1,8}\d{1,8} [\w./-]{1,100}:\d{1,6}\]/y,
  ],
};

const times: Prefixes = {
  followedBy: ["times", "marks", "origins", "levels"],
  expressions: [
    // ISO 8601, and with slashes as Go's logger writes it
    / ?\[?\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?\]?:?/y,
    // syslog of RFC 3164
    / ?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}\d{1,2} \d{2}:\d{2}:\d{2}(?:\.\d{1,9})?/y,
    // Android
    /(?:\d{4}-)?\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3,6}(?: [+-]\d{4})?/y,
  ],
};

/** Who logged, which follows a time. */
const origins: Prefixes = {
  followedBy: ["times", "marks", "levels"],
  expressions: [
    // containerd: `stderr F`
    / std(?:out|err) [FP](?= |$)/y,
    // Android's threadtime, with or without the user
    / {1,6}(?:[\w-]{1,20} {1,6})?\d{1,7} {1,6}\d{1,7} [VDIWEFA] [^:]{1,60}:/y,
    // Android Studio, new and old
    / {1,6}\d{1,7}-\d{1,7} {1,6}[\w.:-]{1,60} {1,60}[\w.:-]{1,100} {1,60}[VDIWEFA](?= )/y,
    / \d{1,7}-\d{1,7}\/[\w.?:-]{1,100} [VDIWEFA]\/[^:]{1,60}:/y,
    // syslog's host and program
    / [\w.:-]{1,64} [\w./@()-]{1,64}\[\d{1,10}\]:/y,
    / [a-z0-9][a-z0-9._-]{0,63} (?![a-z0-9._/-]{0,64}(?:panic|error|exception|trace))[a-z][a-z0-9._/-]{0,63}:(?= |$)/y,
    // RFC 5424: host, program, process, message and structured data
    / [\w.:-]{1,255} [\w./-]{1,48} [\w-]{1,128} [\w-]{1,32} (?:-|\[[^\]]{1,400}\])(?= |$)/y,
  ],
};

/** How bad, which thread and which logger, which follow a time or each other. */
const levels: Prefixes = {
  followedBy: ["times", "marks", "levels"],
  expressions: [
    // levels, threads and loggers: `[main] ERROR com.example.Agent -`
    / {1,2}\[[^\]]{1,80}\]/y,
    / {1,2}(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRIT|CRITICAL|FATAL|SEVERE)(?= |$)/y,
    / {1,2}(?:[\w.$]{1,100} )?-(?= )/y,
  ],
};

const followers = { times, marks, origins, levels } as const;
