import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { ConsoleSessions } from "../../src/api/console/console-session.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { type Doors, openDoors } from "../api/doors.ts";

/** Paths that would lead out of the folder of the console's files. */

const cleanup = new AsyncDisposableStack();
const secret = "what nobody may read";
let doors: Doors;

beforeAll(async () => {
  const { path } = cleanup.use(await mkdtempDisposable(join(tmpdir(), "device-ota-console-")));
  const folder = join(path, "console");
  await mkdir(join(folder, "assets"), { recursive: true });
  await writeFile(join(folder, "assets", "app.js"), "the console");
  await writeFile(join(folder, "index.html"), "the index page");
  await writeFile(join(folder, "private.json"), secret);
  await writeFile(join(folder, "assets", ".env"), secret);
  await writeFile(join(path, "private.json"), secret);
  const sessions = new ConsoleSessions({
    secret: new Uint8Array(32),
    clock: systemClock,
    ended: { has: () => false, end: async () => {}, onChange: () => {} },
  });
  doors = await openDoors({
    services: [AccessService],
    endpoints: [],
    http: { console: { sessions, folder } },
  });
  cleanup.use(doors);
});

afterAll(() => cleanup.disposeAsync());

/** Asks for a path as it stands, which `fetch` would tidy up. */
async function answerTo(path: string): Promise<string> {
  const { hostname, port } = new URL(doors.httpUrl);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\naccept: */*\r\nconnection: close\r\n\r\n`);
  return await text(socket);
}

it("its files are served, so that those below are missed for their paths", async () => {
  expect(await answerTo("/assets/app.js")).toContain("the console");
  expect(await answerTo("/")).toContain("the index page");
});

it.each([
  "/assets/../private.json",
  "/assets/..%2fprivate.json",
  "/assets/%2e%2e/private.json",
  "/assets/%2e%2e/%2e%2e/private.json",
  "/assets/..%2f..%2fprivate.json",
  "/assets/..%5cprivate.json",
  "/assets/..%252fprivate.json",
  "/assets/....//....//private.json",
  "/assets//../private.json",
  "/assets/%00../private.json",
  "/assets/app.js%00",
  "/assets/%c0%ae%c0%ae/private.json",
  "/assets/.env",
  "/..%2fprivate.json",
  "/%2e%2e/private.json",
  "/private.json",
  "//private.json",
  "//evil.example/%2f..",
  "/assets/%ZZ",
])("nothing else is read by %s", async (path) => {
  const answer = await answerTo(path);
  expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
  expect(answer).not.toContain(secret);
});
