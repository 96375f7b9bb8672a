import { testPairs } from "./pairs.ts";

/** A nil dereference in `name`, as an executable that was built in `folder` prints it. */
function nilPanic(
  name: string,
  { folder = "/srv/build", line = 5, goroutine = 1, address = "0x663b00" } = {},
): string {
  return `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=${address}]

goroutine ${goroutine} [running]:
main.(*Sensor).${name}(...)
\t${folder}/sensor.go:${line}
main.poll({0xc00${address.slice(4)}, 0x2}, 0x${goroutine})
\t${folder}/main.go:${line + 30} +0x7d
created by main.main in goroutine 1
\t${folder}/main.go:12 +0x1fc
`;
}

function served(handler: string, client: string): string {
  return `2026/11/29 11:07:07 http: panic serving ${client}: runtime error: index out of range [${client.length}] with length 3
goroutine ${client.length} [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1897 +0xbd
panic({0x6fccc0?, 0xa07460?})
\t/usr/local/go/src/runtime/panic.go:860 +0x13a
example.com/agent/api.(*Server).${handler}(0xc0001, {0x780b48, 0x190cee7da000})
\t/src/api/server.go:88 +0x25
github.com/gorilla/mux.(*Router).ServeHTTP(0xc0000b2000, {0x7f?, 0x2?}, 0x3)
\t/root/go/pkg/mod/github.com/gorilla/mux@v1.8.1/mux.go:212 +0x1c5
net/http.serverHandler.ServeHTTP({0x190cee7ae040?}, {0x780b48?, 0x190cee7da000?}, 0x1?)
\t/usr/local/go/src/net/http/server.go:3311 +0x8e
created by net/http.(*Server).Serve in goroutine 7
\t/usr/local/go/src/net/http/server.go:3464 +0x485
`;
}

function recovered(name: string, words: string): string {
  return `${words}: interface conversion: interface {} is string, not int
goroutine 34 [running]:
runtime/debug.Stack()
\t/usr/local/go/src/runtime/debug/stack.go:26 +0x5e
main.guard.func1()
\t/src/guard.go:17 +0x5a
panic({0x4afb00?, 0x120d6b8160f0?})
\t/usr/local/go/src/runtime/panic.go:860 +0x13a
main.${name}(...)
\t/src/config.go:9
main.guard(0x0?)
\t/src/guard.go:20 +0x33
main.main()
\t/src/main.go:17 +0x230
`;
}

const deadlock = (name: string, address: string) => `fatal error: all goroutines are asleep - deadlock!

goroutine 1 [sync.Mutex.Lock]:
internal/sync.runtime_SemacquireMutex(${address}?, 0x0?, 0x7fb40c361868?)
\t/usr/local/go/src/runtime/sema.go:95 +0x25
sync.(*Mutex).Lock(...)
\t/usr/local/go/src/sync/mutex.go:46
main.${name}()
\t/tmp/rep/g.go:14 +0x1bb
`;

const overflow = (depth: number) => `runtime: goroutine stack exceeds 1000000000-byte limit
runtime: sp=0x887cc8f0388 stack=[0x887cc8f0000, 0x887ec8f0000]
fatal error: stack overflow

runtime stack:
runtime.throw({0x4c6530?, 0x41a725?})
\t/usr/local/go/src/runtime/panic.go:1229 +0x48 fp=0x7ffe863db638 sp=0x7ffe863db608 pc=0x479868

goroutine 1 gp=0x887ac8681e0 m=0 mp=0x585f60 [running]:
${["main.odd(0x1)", "main.even(0x2)", "main.odd(0x3)", "main.even(0x4)", "main.odd(0x5)"]
  .slice(depth)
  .map((call) => `${call}\n\t/tmp/g.go:18 +0x30 fp=0x887cc8f0398 sp=0x887cc8f0390 pc=0x49eaf0`)
  .join("\n")}
main.main()
\t/tmp/g.go:18 +0x1d
`;

const repanic = (name: string) => `panic: runtime error: integer divide by zero [recovered]
\tpanic: again runtime error: integer divide by zero

goroutine 1 [running]:
main.main.func2()
\t/tmp/rep/g.go:13 +0x66
panic({0x4ae6c0?, 0x57f2f0?})
\t/usr/local/go/src/runtime/panic.go:860 +0x13a
main.${name}(...)
\t/tmp/rep/g.go:4
main.main()
\t/tmp/rep/g.go:13 +0xab
`;

const journald = (text: string) =>
  text
    .split("\n")
    .map((line) => `Nov 29 11:07:07 gateway agent[${text.length}]: ${line}`)
    .join("\n");

testPairs({
  kind: "go",
  same: [
    [
      "another build and goroutine",
      nilPanic("Read"),
      nilPanic("Read", { folder: "/home/ci/agent", line: 17, goroutine: 39, address: "0x712340" }),
    ],
    ["from the journal", nilPanic("Read"), journald(nilPanic("Read", { line: 8 }))],
    [
      "a handler called by two clients",
      served("Config", "127.0.0.1:51492"),
      served("Config", "[2001:db8::17]:443"),
    ],
    [
      "recovered, with other words before",
      recovered("load", "recovered"),
      recovered("load", "ERROR worker died"),
    ],
    ["a deadlock", deadlock("lock", "0x7fb40c361c28"), deadlock("lock", "0x7fb40c361111")],
    ["recursion that ends elsewhere", overflow(0), overflow(1)],
    [
      "a panic with somebody's name",
      "panic: no token for alice\n\ngoroutine 1 [running]:\nmain.token()\n\t/a/m.go:12 +0x27c\n",
      "panic: no token for bob\n\ngoroutine 7 [running]:\nmain.token()\n\t/b/m.go:14 +0x27f\n",
    ],
  ],
  different: [
    ["two methods", nilPanic("Read"), nilPanic("Write")],
    ["two handlers", served("Config", "127.0.0.1:51492"), served("State", "127.0.0.1:51492")],
    ["two functions after recover", recovered("load", "recovered"), recovered("store", "recovered")],
    ["two locks", deadlock("lock", "0x1"), deadlock("flush", "0x1")],
    ["panicked again while recovering", repanic("scale"), repanic("offset")],
    [
      "two faults in one function",
      nilPanic("Read"),
      nilPanic("Read").replace(
        "invalid memory address or nil pointer dereference",
        "index out of range [3] with length 2",
      ),
    ],
    [
      "two closures",
      "panic: x\n\ngoroutine 5 [running]:\nmain.main.func1()\n\t/a/m.go:9 +0x1\n",
      "panic: x\n\ngoroutine 5 [running]:\nmain.main.func2()\n\t/a/m.go:9 +0x1\n",
    ],
  ],
});
