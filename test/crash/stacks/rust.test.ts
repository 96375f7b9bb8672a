import { testPairs } from "./pairs.ts";

const commit = "59807616e1fa2540724bfbac14d7976d7e4a3860";

interface Build {
  readonly thread?: string;
  readonly line?: number;
  readonly column?: number;
  readonly folder?: string;
}

function unwrapped(
  name: string,
  { thread = "main' (449)", line = 3, column = 50, folder = "." }: Build = {},
): string {
  return `
thread '${thread.includes("'") ? thread : `${thread}'`} panicked at src/sensor.rs:${line}:${column}:
called \`Result::unwrap()\` on an \`Err\` value: Os { code: ${line}, kind: NotFound, message: "No such file" }
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/${commit}/library/std/src/panicking.rs:689:5
   1: core::panicking::panic_fmt
             at /rustc/${commit}/library/core/src/panicking.rs:80:14
   2: core::result::unwrap_failed
             at /rustc/${commit}/library/core/src/result.rs:1867:5
   3: core::result::Result<T,E>::unwrap
             at /rustc/${commit}/library/core/src/result.rs:1233:23
   4: ${name}
             at ${folder}/src/sensor.rs:${line}:${column}
   5: tokio::runtime::task::core::Core<T,S>::poll::{{closure}}
             at /home/ci/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.44.1/src/runtime/task/core.rs:331:17
   6: agent::main
             at ${folder}/src/main.rs:${line + 9}:5
note: Some details are omitted, run with \`RUST_BACKTRACE=full\` for a verbose backtrace.
`;
}

function bare(path: string, line: number, column: number, message: string, thread = "main"): string {
  return `
thread '${thread}' (${line + 4711}) panicked at ${path}:${line}:${column}:
${message}
note: run with \`RUST_BACKTRACE=1\` environment variable to display a backtrace
`;
}

const none = "called `Option::unwrap()` on a `None` value";

testPairs({
  kind: "rust",
  same: [
    [
      "another build and thread",
      unwrapped("agent::sensor::read"),
      unwrapped("agent::sensor::read", { thread: "poll", line: 88, column: 12, folder: "/home/ci/agent" }),
    ],
    [
      "with hashes of the compiler",
      unwrapped("agent::sensor::read::h0123456789abcdef"),
      unwrapped("agent[c1f1a4ba060b9bfa]::sensor::read::hfedcba9876543210"),
    ],
    [
      "without backtrace, after a line was added",
      bare("src/sensor.rs", 12, 37, none),
      bare("src/sensor.rs", 19, 37, none, "poll"),
    ],
    [
      "without backtrace, with another value",
      bare(
        "src/main.rs",
        2,
        14,
        'called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFound, message: "No such file" }',
      ),
      bare(
        "src/main.rs",
        5,
        14,
        'called `Result::unwrap()` on an `Err` value: Os { code: 13, kind: PermissionDenied, message: "x" }',
      ),
    ],
    [
      "an index, in an older compiler's words",
      "thread 'main' panicked at 'index out of bounds: the len is 2 but the index is 7', src/a.rs:4:9\nnote: run with `RUST_BACKTRACE=1`\n",
      "thread 'w' panicked at 'index out of bounds: the len is 9 but the index is 70', src/a.rs:14:9\nnote: run with `RUST_BACKTRACE=1`\n",
    ],
    [
      "with colours and times of a container",
      unwrapped("agent::sensor::read"),
      unwrapped("agent::sensor::read")
        .split("\n")
        .map((line) => `2024-01-05T12:00:00.123456789Z stderr F \u001B[31m${line}\u001B[0m`)
        .join("\n"),
    ],
    [
      "an error with its backtrace",
      "Error: cannot read 17\n\nCaused by:\n    0: at 3\n    1: No such file\n\nStack backtrace:\n   0: anyhow::error::<impl anyhow::Error>::msg\n   1: agent::load\n             at ./src/main.rs:12:5\n",
      "Error: cannot read 18\n\nCaused by:\n    0: at 4\n    1: No such file\n\nStack backtrace:\n   0: anyhow::error::<impl anyhow::Error>::msg\n   1: agent::load\n             at ./src/main.rs:19:5\n",
    ],
  ],
  different: [
    ["two functions", unwrapped("agent::sensor::read"), unwrapped("agent::sensor::parse")],
    [
      "two unwraps of one file without backtrace",
      bare("src/sensor.rs", 12, 37, none),
      bare("src/sensor.rs", 40, 22, none),
    ],
    ["two files without backtrace", bare("src/sensor.rs", 12, 37, none), bare("src/config.rs", 12, 37, none)],
    [
      "two modules without backtrace",
      bare("src/sensor/mod.rs", 12, 37, none),
      bare("src/config/mod.rs", 12, 37, none),
    ],
    [
      "two messages without backtrace",
      bare("src/a.rs", 1, 5, "no sensor"),
      bare("src/a.rs", 9, 5, "queue is full"),
    ],
    [
      "two closures of a function",
      unwrapped("agent::main::{{closure}}", { column: 31 }),
      unwrapped("agent::main::{{closure}}", { column: 62 }),
    ],
  ],
});
