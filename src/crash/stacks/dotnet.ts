import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * An exception of .NET or Mono. Of inner exceptions the innermost counts, whose frames are printed first. The state machines
 * of async methods and iterators, closures and local functions bear the names of the methods that were written.
 */
export const dotnet: StackFormat = {
  kind: "dotnet",
  sign: (line) =>
    /^\s{1,12}at [^(]{1,500}\(/.test(line)
      ? /:line \d{1,9}$| \[0x[0-9a-f]{1,8}\] in </.test(line) || callLine.test(line)
      : /^\s{0,8}--- End of (?:stack trace from previous location|inner exception)|^Unhandled [Ee]xception(?:\.|:) [A-Z]\w{1,200}\./.test(
          line,
        ),
  parse(lines) {
    let fault = "";
    const frames: Frame[] = [];
    for (const line of lines) {
      if (/^\s{0,8}--- End of inner exception stack trace/.test(line)) {
        // What follows is where the inner one was caught: its own frames end before, and may not be the device's.
        if (frames.some(({ inApp }) => inApp)) break;
        continue;
      }
      const call = /^\s{1,12}at ([^\s(][^(]{0,500}?) ?\(/.exec(line)?.[1];
      if (call === undefined) {
        if (frames.length === 0) fault = faultOf(line) ?? fault;
        continue;
      }
      const symbol = methodName(call);
      // An async method and its state machine are one call.
      if (frames.at(-1)?.symbol !== symbol) frames.push({ symbol, inApp: !systemNamespace.test(symbol) });
    }
    return { fault, frames } satisfies ParsedStack;
  },
};

/** `   at Agent.Sensor.Read(Int32 id)`: parameters have a type and a name, unlike the places of other languages. */
const callLine =
  /^\s{1,12}at [\w.<>`+[\],|$]{1,400} ?\((?:[\w.<>`+[\],&*?]{1,200} \w{1,100}(?:, [\w.<>`+[\],&*?]{1,200} \w{1,100}){0,30})?\)$/;

/** The last exception that a line names: ` ---> System.TimeoutException: late` is what was inside. */
function faultOf(line: string): string | undefined {
  const inner = line.lastIndexOf("---> ");
  const text = (inner < 0 ? line : line.slice(inner + "---> ".length))
    .trimStart()
    .replace(/^\(Inner Exception #\d{1,4}\) ?/, "")
    .replace(/^(?:Unhandled [Ee]xception(?:\.|:)|\[ERROR\] FATAL UNHANDLED EXCEPTION:) ?/, "");
  const name = /^([A-Z]\w{0,200}(?:[.+][A-Z]\w{0,200}){0,20})(?: \(0x[0-9a-fA-F]{1,8}\))?(?::\s|$)/.exec(
    text,
  )?.[1];
  return name !== undefined && (name.includes(".") || /(?:Exception|Error)$/.test(name)) ? name : undefined;
}

const systemNamespace =
  /^(?:System|Microsoft|Interop|Windows|Mono|MS|Internal|NUnit|Xunit|Newtonsoft|Serilog|Grpc|MQTTnet|Npgsql|Polly|lambda_method\w{0,20}$)(?:\.|$)|^lambda_method/;

/**
 * `Agent.Worker.<RunAsync>d__3.MoveNext` is `Agent.Worker.RunAsync`; `Agent.Program.<>c__DisplayClass3_0.<Main>b__1` its second
 * closure; `Agent.Program.<Main>g__Read|0_0` its local function. The numbers of classes and methods move between builds.
 */
function methodName(call: string): string {
  return call
    .replaceAll(/<>c(?:__DisplayClass\d{1,6}_\d{1,6})?(?:`\d{1,3})?[.+]/g, "")
    .replaceAll(/<([\w.]{0,200})>b__(?:\d{1,6}_)?(\d{1,6})/g, "$1.lambda$2")
    .replaceAll(/<([\w.]{0,200})>g__(\w{1,200})\|\d{1,6}(?:_\d{1,6})?/g, "$1.$2")
    .replaceAll(/<([\w.]{0,200})>d(?:__\d{1,6})?(?:`\d{1,3})?(?:\[[^[\]]{0,100}\])?[.+]MoveNext/g, "$1")
    .replaceAll(/`\d{1,3}|\[[^[\]]{0,200}\]/g, "")
    .replaceAll("+", ".")
    .trim();
}
