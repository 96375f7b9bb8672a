import { testPairs } from "./pairs.ts";

const cannotRead = (name: string) => `TypeError: Cannot read properties of undefined (reading '${name}')`;

function stack(header: string, ...calls: readonly string[]): string {
  return `${header}\n${calls.map((call) => `    at ${call}`).join("\n")}\n`;
}

const emitted = (place: string, name = "value") =>
  stack(
    cannotRead(name),
    `EventEmitter.<anonymous> (${place})`,
    "EventEmitter.emit (node:events:524:28)",
    "node:internal/main/run_main_module:28:49",
  );

const caused = (name: string, line: number) => `Error: cannot start ${line}
    at start (/srv/agent/main.js:${line}:11) {
  [cause]: RangeError: Invalid time ${line}
      at ${name} (/srv/agent/clock.js:${line + 3}:9)
      at start (/srv/agent/main.js:${line}:5)
      ... 3 lines matching cause stack trace ...
}
`;

testPairs({
  kind: "javascript",
  same: [
    [
      "another folder and line",
      stack("Error: no token for alice", "token (/srv/build/a.js:3:9)", "main (/srv/build/a.js:9:1)"),
      stack("Error: no token for bob", "token (/home/ci/a.js:13:19)", "main (/home/ci/a.js:19:1)"),
    ],
    ["a callback after lines were added", emitted("/srv/n.js:2:30"), emitted("/opt/n.js:12:30")],
    [
      "a module as a URL",
      stack("Error: x", "tick (file:///srv/agent.mjs:13:48)"),
      stack("Error: x", "tick (/srv/agent.mjs:14:48)"),
    ],
    [
      "a named function of a bundle",
      stack("Error: x", "readSensor (/app/main.3f2a1b9c.js:1:23456)"),
      stack("Error: x", "readSensor (/app/main.99ee01ab.js:1:87654)"),
    ],
    [
      "an async function",
      stack("Error: x", "async poll (/a/b.js:1:2)"),
      stack("Error: x", "poll (/a/b.js:7:2)"),
    ],
    [
      "a method under another name",
      stack("Error: x", "Sensor.read [as onTimeout] (/a/b.js:1:2)"),
      stack("Error: x", "Sensor.read (/a/b.js:7:2)"),
    ],
    ["a cause", caused("parse", 3), caused("parse", 40)],
    [
      "webpack's paths",
      stack("Error: x", "read (webpack://agent/./src/sensor.js?a1b2:10:5)"),
      stack("Error: x", "read (webpack:///./src/sensor.js?ffee:12:5)"),
    ],
    [
      "compiled async functions",
      stack("Error: x", "read (/a/b.js:1:2)", "step (/a/b.js:3:4)", "fulfilled (/a/b.js:4:2)"),
      stack("Error: x", "read (/a/b.js:1:2)", "step (/a/b.js:3:4)"),
    ],
    [
      "SpiderMonkey",
      "read@/app/main.js:10:5\nmain@/app/main.js:3:1\n",
      "read@/opt/main.js:12:5\nmain@/opt/main.js:4:1\n",
    ],
    [
      "QuickJS",
      stack("TypeError: not a function", "read (main.js:10)", "main (main.js:3)"),
      stack("TypeError: not a function", "read (main.js:14)", "main (main.js:6)"),
    ],
    [
      "Hermes",
      stack("Error: x", "read (address at /data/index.android.bundle:1:23456)"),
      stack("Error: x", "read (address at /data/app/index.android.bundle:1:9)"),
    ],
    [
      "a logger's time",
      stack("Error: x", "read (/a/b.js:1:2)"),
      stack("Error: x", "read (/a/b.js:1:2)")
        .split("\n")
        .map((line) => `2024-01-05T12:00:00.123Z ${line}`)
        .join("\n"),
    ],
  ],
  different: [
    ["two callbacks of a file", emitted("/srv/n.js:2:30"), emitted("/srv/n.js:3:25", "send")],
    ["two callbacks of a line", emitted("/srv/n.js:2:30"), emitted("/srv/n.js:2:61")],
    [
      "two places of a bundle",
      stack("Error: x", "/app/bundle.js:1:23456"),
      stack("Error: x", "/app/bundle.js:1:87654"),
    ],
    [
      "two minified functions",
      stack("Error: x", "t (/app/bundle.js:1:23456)"),
      stack("Error: x", "t (/app/bundle.js:1:87654)"),
    ],
    ["two causes", caused("parse", 3), caused("format", 3)],
    [
      "two evals",
      stack("Error: x", "eval (eval at run (/a/b.js:1:1), <anonymous>:1:7)"),
      stack("Error: x", "eval (eval at run (/a/b.js:1:1), <anonymous>:1:21)"),
    ],
    ["two functions of SpiderMonkey", "read@/app/main.js:10:5\n", "push@/app/main.js:10:5\n"],
    [
      "two that call one package",
      stack("Error: x", "get (/a/node_modules/http/i.js:1:1)", "read (/a/b.js:1:2)"),
      stack("Error: x", "get (/a/node_modules/http/i.js:1:1)", "push (/a/b.js:1:2)"),
    ],
  ],
});
