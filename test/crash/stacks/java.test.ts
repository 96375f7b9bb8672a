import { testPairs } from "./pairs.ts";

function thrown(
  frames: readonly string[],
  header = 'Exception in thread "main" java.lang.IllegalStateException: bad',
): string {
  return `${header}\n${frames.map((frame) => `\tat ${frame}`).join("\n")}\n`;
}

const pool = [
  "java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1136)",
  "java.base/java.lang.Thread.run(Thread.java:840)",
];

const caused = (
  inner: string,
  line: number,
) => `java.util.concurrent.CompletionException: java.lang.NullPointerException: Cannot invoke "String.length()"
\tat java.base/java.util.concurrent.CompletableFuture.encodeThrowable(CompletableFuture.java:315)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.lang.NullPointerException: Cannot invoke "String.length()" because "cfg" is null
\tat com.example.${inner}(Agent.java:${line})
\tat java.base/java.util.concurrent.CompletableFuture$AsyncSupply.run(CompletableFuture.java:1768)
\t... 1 more
`;

const cglib = (hash: string) =>
  thrown([
    "com.example.Meter.read(Meter.java:12)",
    `com.example.Meter$$FastClassBySpringCGLIB$$${hash}.invoke(<generated>)`,
    "org.springframework.cglib.proxy.MethodProxy.invoke(MethodProxy.java:218)",
    `com.example.Meter$$EnhancerBySpringCGLIB$$${hash}.read(<generated>)`,
    "com.example.Agent.poll(Agent.java:30)",
  ]);

const coroutine = (
  call: string,
  line: number,
  thread: number,
) => `Exception in thread "DefaultDispatcher-worker-${thread}" java.lang.IllegalArgumentException: bad frame ${thread}
\tat com.example.SensorKt$read$${call}.invokeSuspend(Sensor.kt:${line})
\tat kotlin.coroutines.jvm.internal.BaseContinuationImpl.resumeWith(ContinuationImpl.kt:33)
\tat kotlinx.coroutines.DispatchedTask.run(DispatchedTask.kt:106)
\tSuppressed: kotlinx.coroutines.internal.DiagnosticCoroutineContextException: [StandaloneCoroutine{Cancelling}@${thread}f, Dispatchers.Default]
`;

const fatal = (method: string, pid: number) => `FATAL EXCEPTION: main
Process: com.example, PID: ${pid}
java.lang.RuntimeException: Unable to start activity ComponentInfo{com.example/com.example.Main}: java.lang.NullPointerException
\tat android.app.ActivityThread.performLaunchActivity(ActivityThread.java:3449)
\tat com.android.internal.os.ZygoteInit.main(ZygoteInit.java:930)
Caused by: java.lang.NullPointerException: Attempt to invoke virtual method 'int java.lang.String.length()' on a null object reference
\tat com.example.Main.${method}(Main.kt:${pid})
\tat android.app.Activity.performCreate(Activity.java:8000)
\t... 11 more
`;

function each(text: string, prefix: string): string {
  return text
    .split("\n")
    .map((line) => prefix + line)
    .join("\n");
}

testPairs({
  kind: "java",
  same: [
    [
      "a hidden class of a lambda",
      thrown([
        "com.example.Agent$$Lambda$14/0x0000000800c03000.run(Unknown Source)",
        "com.example.Agent.poll(Agent.java:9)",
      ]),
      thrown([
        "com.example.Agent$$Lambda/0x00007f1c3c000a00.run(Unknown Source)",
        "com.example.Agent.poll(Agent.java:11)",
      ]),
    ],
    ["classes of proxies", cglib("1a2b3c4d"), cglib("99ffee01")],
    [
      "a dynamic proxy",
      thrown(["jdk.proxy2/jdk.proxy2.$Proxy17.read(Unknown Source)", "A.main(A.java:9)"]),
      thrown(["com.sun.proxy.$Proxy4.read(Unknown Source)", "A.main(A.java:12)"]),
    ],
    ["what a future was completed with", caused("Agent.load", 14), caused("Agent.load", 44)],
    ["a coroutine on another thread", coroutine("1", 12, 3), coroutine("1", 17, 5)],
    [
      "logcat with threads",
      fatal("onCreate", 4711),
      each(fatal("onCreate", 815), "01-05 12:00:00.123  4711  4712 E AndroidRuntime: "),
    ],
    ["logcat in brief", fatal("onCreate", 4711), each(fatal("onCreate", 815), "E/AndroidRuntime( 4711): ")],
    [
      "logcat of Android Studio",
      fatal("onCreate", 4711),
      each(
        fatal("onCreate", 815),
        "2024-01-05 12:00:00.123  4711-4711  AndroidRuntime          com.example                          E  ",
      ),
    ],
    [
      "logcat with a year and a user",
      fatal("onCreate", 4711),
      each(fatal("onCreate", 815), "2024-01-05 12:00:00.123456 +0000  1000  4711  4711 E AndroidRuntime: "),
    ],
    [
      "a logger's time and level",
      thrown(["com.example.A.b(A.java:1)", ...pool]),
      each(
        thrown(["com.example.A.b(A.java:4)", ...pool]),
        "2024-01-05 12:00:00,123 ERROR [main] com.example.Log - ",
      ),
    ],
    [
      "names that R8 kept with a map id",
      thrown(["b.c.d.a(SourceFile:3)", "b.c.e.b(Unknown Source:4)"]),
      thrown(["b.c.d.a(r8-map-id-8f3ec0a1b2:9)", "b.c.e.b(r8-map-id-8f3ec0a1b2:14)"]),
    ],
    [
      "recursion that ends elsewhere",
      thrown(
        ["A.even(A.java:1)", "A.odd(A.java:2)", "A.even(A.java:1)", "A.odd(A.java:2)", "A.even(A.java:1)"],
        "java.lang.StackOverflowError",
      ),
      thrown(
        ["A.odd(A.java:2)", "A.even(A.java:1)", "A.odd(A.java:2)", "A.even(A.java:1)"],
        "java.lang.StackOverflowError",
      ),
    ],
  ],
  different: [
    [
      "two anonymous classes",
      thrown(["com.example.Agent$1.run(Agent.java:4)", ...pool]),
      thrown(["com.example.Agent$2.run(Agent.java:5)", ...pool]),
    ],
    [
      "two lambdas",
      thrown(["com.example.Agent.lambda$main$0(Agent.java:6)"]),
      thrown(["com.example.Agent.lambda$main$1(Agent.java:7)"]),
    ],
    ["two coroutines", coroutine("1", 12, 3), coroutine("2", 12, 3)],
    ["two causes", caused("Agent.load", 14), caused("Agent.store", 14)],
    [
      "two exceptions in one place",
      thrown(["A.b(A.java:1)"]),
      thrown(["A.b(A.java:1)"], "java.io.IOException: bad"),
    ],
    [
      "two methods under logcat",
      each(fatal("onCreate", 1), "E/AndroidRuntime( 4711): "),
      each(fatal("onResume", 1), "E/AndroidRuntime( 4711): "),
    ],
    ["two obfuscated classes", thrown(["b.c.d.a(SourceFile:3)"]), thrown(["b.c.e.a(SourceFile:3)"])],
    [
      "two callers behind a proxy",
      cglib("1a2b3c4d"),
      cglib("1a2b3c4d").replace("Meter.read(Meter.java", "Meter.reset(Meter.java"),
    ],
  ],
});
