import { testPairs } from "./pairs.ts";

const traceback = (
  name: string,
  { path = "main.lua", line = 5, message = "attempt to index a nil value (field 'x')" } = {},
) =>
  `lua: ${path}:${line}: ${message}
stack traceback:
\t[C]: in function 'error'
\t${path}:${line}: in ${name}
\t${path}:9: in main chunk
\t[C]: in ?
`;

testPairs({
  kind: "lua",
  same: [
    [
      "another folder and line",
      traceback("function 'read'"),
      traceback("function 'read'", { path: "/opt/agent/main.lua", line: 55 }),
    ],
    ["an upvalue or a local", traceback("upvalue 'read'"), traceback("local 'read'")],
    [
      "somebody's text",
      traceback("function 'read'", { message: "no token for alice" }),
      traceback("function 'read'", { message: "no token for bob" }),
    ],
  ],
  different: [
    ["two functions", traceback("function 'read'"), traceback("function 'push'")],
    [
      "two faults in one function",
      traceback("function 'read'"),
      traceback("function 'read'", { message: "attempt to call a nil value (global 'send')" }),
    ],
    ["two functions without names", traceback("function <main.lua:12>"), traceback("function <main.lua:48>")],
  ],
});
