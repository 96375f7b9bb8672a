/**
 * The first name that stands twice in one object of a JSON text, undefined if none does. RFC 8259 (section 4) leaves open what such an
 * object means, so two readers, a proxy that checks and a service that acts, may see two requests in it. The text is valid JSON.
 */
export function duplicateKey(text: string): string | undefined {
  /** The names so far of each object that is open; undefined for lists. */
  const open: (Set<string> | undefined)[] = [];
  let isNameNext = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case "{":
        open.push(new Set());
        isNameNext = true;
        break;
      case "[":
        open.push(undefined);
        isNameNext = false;
        break;
      case "}":
      case "]":
        open.pop();
        isNameNext = false;
        break;
      case ",":
        isNameNext = open.at(-1) !== undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        if (isNameNext) {
          const name = JSON.parse(text.slice(at, end + 1)) as string;
          const names = open.at(-1) as Set<string>;
          if (names.has(name)) return name;
          names.add(name);
          isNameNext = false;
        }
        at = end;
        break;
      }
      default:
    }
  }
  return undefined;
}

/** Where the string that begins here has its closing quote. */
function endOfString(text: string, begin: number): number {
  let at = begin + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}
