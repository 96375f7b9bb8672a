import { testPairs } from "./pairs.ts";

function thrown(
  method: string,
  source = " in /src/Sensor.cs:line 12",
  header = "Unhandled exception. System.NullReferenceException: Object reference not set to an instance of an object.",
): string {
  return `${header}
   at Agent.${method}${source}
   at System.Threading.ExecutionContext.RunInternal(ExecutionContext executionContext, ContextCallback callback, Object state)
--- End of stack trace from previous location ---
   at Agent.Program.Main(String[] args)${source.replace("12", "40")}
`;
}

const inner = (
  method: string,
  line: number,
) => `Unhandled exception. System.AggregateException: One or more errors occurred. (late ${line})
 ---> System.TimeoutException: late ${line}
   at System.Net.Sockets.Socket.Connect(EndPoint remoteEP)
   at Agent.Link.${method}(Int32 n) in C:\\build\\Link.cs:line ${line}
   --- End of inner exception stack trace ---
   at System.Threading.Tasks.Task.Wait()
   at Agent.Program.Main() in C:\\build\\Program.cs:line ${line + 9}
`;

testPairs({
  kind: "dotnet",
  same: [
    [
      "on Windows and on Linux",
      thrown("Sensor.Read(Int32 id)", " in C:\\build 7\\agent\\Sensor.cs:line 12"),
      thrown("Sensor.Read(Int32 id)"),
    ],
    ["without debug files", thrown("Sensor.Read(Int32 id)"), thrown("Sensor.Read(Int32 id)", "")],
    [
      "the state machine of an async method",
      thrown("Worker.<RunAsync>d__3.MoveNext()"),
      thrown("Worker.<RunAsync>d__17.MoveNext()"),
    ],
    [
      "an async method as newer runtimes print it",
      thrown("Worker.<RunAsync>d__3.MoveNext()"),
      thrown("Worker.RunAsync(CancellationToken stop)"),
    ],
    [
      "a closure whose class was numbered anew",
      thrown("Program.<>c__DisplayClass3_0.<Main>b__1(Int32 x)"),
      thrown("Program.<>c__DisplayClass9_2.<Main>b__1(Int32 x)"),
    ],
    [
      "a local function",
      thrown("Program.<Main>g__Read|0_0(Int32 x)"),
      thrown("Program.<Main>g__Read|2_1(Int32 x)"),
    ],
    ["an inner exception", inner("Open", 3), inner("Open", 77)],
    [
      "Mono",
      thrown("Sensor.Read (System.Int32 id)", " [0x00012] in <8f3ec0a1b2c3d4e5>:0 "),
      thrown("Sensor.Read (System.Int32 id)", " [0x00019] in <1111c0a1b2c3d4e5>:0 "),
    ],
    [
      "from the journal",
      thrown("Sensor.Read(Int32 id)"),
      thrown("Sensor.Read(Int32 id)")
        .split("\n")
        .map((line) => `Jan 05 12:00:00 gw agent[77]: ${line}`)
        .join("\n"),
    ],
  ],
  different: [
    ["two methods", thrown("Sensor.Read(Int32 id)"), thrown("Sensor.Write(Int32 id)")],
    [
      "two async methods",
      thrown("Worker.<RunAsync>d__3.MoveNext()"),
      thrown("Worker.<StopAsync>d__3.MoveNext()"),
    ],
    [
      "two closures of a method",
      thrown("Program.<>c.<Main>b__0_0(Int32 x)"),
      thrown("Program.<>c.<Main>b__0_1(Int32 x)"),
    ],
    ["two inner places", inner("Open", 3), inner("Close", 3)],
    [
      "two exceptions in one place",
      thrown("Sensor.Read(Int32 id)"),
      thrown(
        "Sensor.Read(Int32 id)",
        " in /s.cs:line 12",
        "Unhandled exception. System.IO.IOException: no such device",
      ),
    ],
    [
      "two local functions",
      thrown("Program.<Main>g__Read|0_0(Int32 x)"),
      thrown("Program.<Main>g__Send|0_0(Int32 x)"),
    ],
  ],
});
