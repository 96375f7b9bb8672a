/**
 * A path template of google.api.http (google/api/http.proto, "Path template syntax"): literals, `*`, `**` at the end,
 * variables `{field.path}` and `{field.path=pattern/*}`, and a verb `:verb` at the end.
 */
export class PathTemplate {
  /** The template without variable names: two templates of the same shape match the same paths. */
  readonly shape: string;
  /** The variables' field paths. */
  readonly variables: readonly string[];
  readonly #segments: readonly Segment[];
  readonly #captures: readonly Capture[];
  readonly #verb: string | undefined;

  /** Throws an Error for text that is no template; templates stand in the contract, so it happens at start. */
  constructor(template: string) {
    const { segments, captures, verb } = parse(template);
    this.#segments = segments;
    this.#captures = captures;
    this.#verb = verb;
    this.shape = `/${segments.join("/")}${verb === undefined ? "" : `:${verb}`}`;
    this.variables = captures.map(({ field }) => field);
  }

  /**
   * The variables' values if the path (as it came, still percent-encoded, without query) fits. A value of one segment
   * is decoded wholly, so `%2F` in it is a slash that separates nothing. Throws a URIError for broken encoding.
   */
  match(path: string): ReadonlyMap<string, string> | undefined {
    const parts = this.#partsOf(path);
    if (parts === undefined) return undefined;
    for (const [index, segment] of this.#segments.entries()) {
      if (segment === "**") break;
      const part = parts[index] as string;
      if (segment === "*" ? part === "" : decodeURIComponent(part) !== segment) return undefined;
    }
    return new Map(this.#captures.map((capture) => [capture.field, valueOf(capture, parts)]));
  }

  /** Orders the more specific template first: a literal before `*` before `**`, a verb before none. */
  compareSpecificity(other: PathTemplate): number {
    for (let index = 0; ; index++) {
      const mine = this.#segments[index];
      const theirs = other.#segments[index];
      if (mine === undefined || theirs === undefined) {
        const byVerb = Number(this.#verb === undefined) - Number(other.#verb === undefined);
        return byVerb || other.#segments.length - this.#segments.length;
      }
      const byRank = rank(mine) - rank(theirs);
      if (byRank !== 0) return byRank;
    }
  }

  /** The path's segments without the verb, if their number fits. */
  #partsOf(path: string): string[] | undefined {
    if (!path.startsWith("/")) return undefined;
    let rest = path.slice(1);
    if (this.#verb !== undefined) {
      const suffix = [`:${this.#verb}`, `%3A${this.#verb}`, `%3a${this.#verb}`].find((end) =>
        rest.endsWith(end),
      );
      if (suffix === undefined) return undefined;
      rest = rest.slice(0, -suffix.length);
    }
    const parts = rest.split("/");
    const isOpen = this.#segments.at(-1) === "**";
    const fits = isOpen ? parts.length >= this.#segments.length - 1 : parts.length === this.#segments.length;
    return fits ? parts : undefined;
  }
}

/** A literal, `*` for one segment, or `**` for all that are left. */
type Segment = string;

/** A variable and the segments that it takes; `end` undefined means to the end. */
interface Capture {
  readonly field: string;
  readonly start: number;
  readonly end: number | undefined;
}

function rank(segment: Segment): number {
  if (segment === "**") return 2;
  return segment === "*" ? 1 : 0;
}

function valueOf({ start, end }: Capture, parts: readonly string[]): string {
  const taken = parts.slice(start, end);
  if (end === start + 1) return decodeURIComponent(taken[0] as string);
  // A slash inside a segment stays encoded, or it could not be told from one that separates segments.
  return taken.map((part) => decodeURIComponent(part.replaceAll(/%2f/gi, "%252F"))).join("/");
}

function parse(template: string) {
  const wrong = (what: string) => new Error(`path template ${template}: ${what}`);
  if (!template.startsWith("/")) throw wrong("must start with a slash");
  const { body, verb } = splitVerb(template.slice(1));
  const segments: Segment[] = [];
  const captures: Capture[] = [];
  for (const piece of body.match(/\{[^}]*\}|[^/{}]+/g) ?? []) {
    const variable = /^\{(?<field>[a-z][\w.]*)(?:=(?<pattern>[^{}]+))?\}$/i.exec(piece)?.groups;
    if (variable === undefined) {
      if (piece.startsWith("{")) throw wrong(`${piece} is no variable`);
      segments.push(piece);
      continue;
    }
    const start = segments.length;
    segments.push(...(variable["pattern"] ?? "*").split("/"));
    captures.push({
      field: variable["field"] as string,
      start,
      end: segments.at(-1) === "**" ? undefined : segments.length,
    });
  }
  const open = segments.indexOf("**");
  if (open !== -1 && open !== segments.length - 1) throw wrong("`**` must come last");
  if (segments.length === 0) throw wrong("is empty");
  return { segments, captures, verb };
}

/** The verb follows the last colon outside of a variable. */
function splitVerb(text: string): { body: string; verb: string | undefined } {
  const match = /^(?<body>.*):(?<verb>[^/{}:]+)$/.exec(text)?.groups;
  if (match === undefined) return { body: text, verb: undefined };
  return { body: match["body"] as string, verb: match["verb"] };
}
