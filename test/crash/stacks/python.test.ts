import { testPairs } from "./pairs.ts";

function traceback(
  calls: readonly (readonly [path: string, name: string, source?: string])[],
  fault: string,
): string {
  const frames = calls.map(
    ([path, name, source], index) =>
      `  File "${path}", line ${index * 7 + path.length}, in ${name}\n${source === undefined ? "" : `    ${source}\n    ^^^^\n`}`,
  );
  return `Traceback (most recent call last):\n${frames.join("")}${fault}\n`;
}

/** A program that pip installed, started by its console script. */
function installed(module: string, name: string, venv = "/srv/venv"): string {
  const packages = `${venv}/lib/python3.11/site-packages`;
  return traceback(
    [
      [`${venv}/bin/agent`, "<module>", "sys.exit(main())"],
      [`${packages}/click/core.py`, "invoke", "return ctx.invoke(self.callback)"],
      [`${packages}/agent/cli.py`, "main"],
      [`${packages}/agent/${module}.py`, name],
      [`${packages}/serial/serialposix.py`, "read"],
    ],
    "serial.serialutil.SerialException: device reports readiness to read but returned no data",
  );
}

const group = (task: string, folder: string) => `  + Exception Group Traceback (most recent call last):
  |   File "${folder}/main.py", line 22, in <module>
  |     asyncio.run(main())
  |   File "/usr/lib/python3.11/asyncio/taskgroups.py", line 145, in __aexit__
  |     raise me from None
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "${folder}/sensors.py", line ${folder.length}, in ${task}
    |     raise ValueError(f"bad {n}")
    | ValueError: bad ${folder.length}
    +------------------------------------
`;

const chained = (word: string, name: string, line: number) =>
  `${traceback(
    [
      ["/app/config.py", "load"],
      ["/app/config.py", name],
    ],
    "KeyError: 'a'",
  )}
${word}

${traceback(
  [
    ["/app/main.py", "<module>"],
    ["/app/main.py", "start"],
  ],
  `RuntimeError: cannot start ${line}`,
)}`;
const direct = "The above exception was the direct cause of the following exception:";
const meanwhile = "During handling of the above exception, another exception occurred:";

const fatal = (thread: string, name: string) => `Fatal Python error: Segmentation fault

Current thread ${thread} (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/app/frame.py", line ${thread.length} in ${name}
  File "/app/main.py", line 22 in <module>
`;

const prefixed = (text: string, prefix: string) =>
  text
    .split("\n")
    .map((line) => `${prefix}${line}`)
    .join("\n");

const key = traceback([["/app/x.py", "f", "g()"]], "KeyError: 'a'");

testPairs({
  kind: "python",
  same: [
    ["another folder, key and lines", key, traceback([["/home/ci/agent/x.py", "f", "g()"]], "KeyError: 'b'")],
    ["from the journal", key, prefixed(key, "Jan 05 12:00:00 gateway agent[1234]: ")],
    [
      "from the journal with a time of ISO 8601",
      key,
      prefixed(key, "2024-01-05T12:00:00+0000 gateway agent[1234]: "),
    ],
    [
      "from docker's file",
      key,
      key
        .split("\n")
        .map((line) => JSON.stringify({ log: `${line}\n`, stream: "stderr", time: "2024-01-05T12:00:00Z" }))
        .join("\n"),
    ],
    ["from docker compose with colours", key, prefixed(key, "\u001B[36magent-1  | \u001B[0m")],
    [
      "from rsyslog, which writes controls in octal",
      key,
      key.replace('File "', 'File #033[35m"').replaceAll("\n", "#033[0m\n"),
    ],
    ["with its lines escaped", key, key.trimEnd().replaceAll("\n", String.raw`\n`)],
    [
      "a virtual environment elsewhere",
      installed("meter", "poll"),
      installed("meter", "poll", "/opt/agent/.venv"),
    ],
    ["an exception of a task group", group("read", "/srv/app"), group("read", "/home/ci/agent/src")],
    ["a cause under another wrapper", chained(direct, "parse", 3), chained(direct, "parse", 4)],
    ["a fatal signal", fatal("0x00007f0747a9fb80", "decode"), fatal("0x00007f11", "decode")],
    [
      "without its sources, as MicroPython prints",
      traceback(
        [
          ["main.py", "<module>"],
          ["sensor.py", "read"],
        ],
        "OSError: [Errno 5] EIO",
      ),
      traceback(
        [
          ["main.py", "<module>"],
          ["sensor.py", "read"],
        ],
        "OSError: 5",
      ),
    ],
    [
      "repeated lines",
      traceback(
        [
          ["/a/x.py", "f"],
          ["/a/x.py", "f"],
        ],
        "RecursionError: maximum recursion depth exceeded",
      ),
      traceback(
        [["/a/x.py", "f"]],
        "  [Previous line repeated 993 more times]\nRecursionError: maximum recursion depth exceeded",
      ),
    ],
  ],
  different: [
    ["two functions of an installed program", installed("meter", "poll"), installed("config", "poll")],
    [
      "two functions of an installed program that use one library",
      installed("meter", "poll"),
      installed("meter", "reset"),
    ],
    ["two tasks of a group", group("read", "/srv/app"), group("push", "/srv/app")],
    ["two causes under one wrapper", chained(direct, "parse", 3), chained(direct, "read", 3)],
    ["a cause, and what happened meanwhile", chained(direct, "parse", 3), chained(meanwhile, "parse", 3)],
    ["two fatal signals", fatal("0x1", "decode"), fatal("0x1", "encode")],
    ["two exceptions in one place", key, key.replace("KeyError", "IndexError")],
    [
      "two lambdas",
      traceback([["/a/x.py", "<lambda>", "lambda: a[0]"]], "IndexError: x"),
      traceback([["/a/x.py", "<lambda>", "lambda: b[1]"]], "IndexError: x"),
    ],
    ["two packages with one file name", installed("meter/io", "read"), installed("config/io", "read")],
  ],
});
