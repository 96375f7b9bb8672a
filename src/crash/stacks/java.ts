import { normaliseSymbol } from "./names.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * A stack trace of Java, Kotlin or another language of the virtual machine, or of Android. Of causes the innermost counts;
 * `... n more` stands for the last n frames of what it caused (java.lang.Throwable.printStackTrace).
 */
export const java: StackFormat = {
  kind: "java",
  sign: (line) => javaFrameLine.test(line),
  parse(lines) {
    let fault = "";
    let outer: readonly Frame[] = [];
    let frames: Frame[] = [];
    for (const line of lines) {
      const place = /^\s*at ([^\s(]{1,500})\(/.exec(line)?.[1];
      if (place !== undefined) {
        frames.push(frameOf(place));
        continue;
      }
      const more = /^\s*\.\.\. (\d{1,4}) (?:more|common frames omitted)/.exec(line)?.[1];
      if (more !== undefined) {
        frames.push(...outer.slice(Math.max(0, outer.length - Number(more))));
        continue;
      }
      // What was suppressed while closing resources is not why; a log that begins with the cause has what it was wrapped in.
      if (/^\s*(?:Suppressed|Wrapped by): /.test(line)) break;
      const header = headerOf(line);
      if (header === undefined) continue;
      if (/^\s*Caused by: /.test(line)) {
        outer = frames;
        frames = [];
      } else if (frames.length > 0) {
        break;
      }
      fault = header;
    }
    return { fault, frames } satisfies ParsedStack;
  },
};

const javaFrameLine =
  /^\s*at [^\s(]{1,500}\((?:[^\s():]{1,200}\.(?:java|kt|kts|scala|groovy|clj)(?::\d{1,9})?|Native Method|(?:Unknown Source|SourceFile|r8-map-id-\w{1,100}|Proguard|PG|<generated>|NO_SOURCE_FILE)(?::\d{1,9})?|:\d{1,9})\)(?: ~?\[.{0,200}\])?$/;

const header =
  /^\s*(?:Caused by: |Exception in thread ".{0,200}" |\*\*\* )?([A-Za-z_$][\w$]{0,200}(?:\.[\w$]{1,200}){0,30})(?::\s|$)/;

function headerOf(line: string): string | undefined {
  const name = header.exec(line)?.[1];
  return name !== undefined && (name.includes(".") || /(?:Exception|Error|Throwable)$/.test(name))
    ? normaliseSymbol(name)
    : undefined;
}

function frameOf(place: string): Frame {
  // `java.base/java.lang.Thread.run`, `app//com.example.Agent.poll`.
  const name = place.slice(place.lastIndexOf("/", hiddenClassAt(place)) + 1);
  const symbol = normaliseSymbol(name);
  return { symbol, inApp: !systemPackage.test(symbol) && !generated.test(symbol) };
}

/** Where the address of a hidden class begins, `Agent$$Lambda/0x00007f`, whose slash ends no module; or the end. */
function hiddenClassAt(place: string): number {
  const at = place.indexOf("$$Lambda");
  return at < 0 ? place.length : at;
}

const systemPackage =
  /^(?:java|javax|jakarta|jdk|sun|com\.sun|kotlin|kotlinx|scala|groovy|clojure|android|androidx|com\.android|dalvik|libcore|com\.google|org\.(?:apache|springframework|eclipse|hibernate|junit|slf4j|jboss|osgi)|io\.(?:netty|reactivex|grpc|vertx)|okhttp3|okio|retrofit2|reactor|dagger)\./;

/** Code that nobody wrote stands between what was written. */
const generated =
  /\$\$Lambda|\$Proxy\d{0,9}\.|GeneratedMethodAccessor|FastClassBy|ExternalSyntheticLambda|\$\$SpringCGLIB\$\$|EnhancerBySpringCGLIB|_ClientProxy\.|WeldClientProxy/;
