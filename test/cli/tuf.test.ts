import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createProgram } from "../../src/cli/command-line.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { TufMirror } from "../support/tuf-mirror.ts";

/** An operator's days with TUF metadata, by command line, and a stock client that follows. */

let service: TestService;
let folder: string;
beforeAll(async () => {
  service = await startTestService();
  folder = await mkdtemp(join(tmpdir(), "device-ota-tuf-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await service[Symbol.asyncDispose]();
});

/** The command line, in this process: a word that begins with @ is a file. */
async function run(line: string): Promise<string> {
  let text = "";
  const stream = { write: (part: string) => void (text += part) };
  const cli = { terminal: createTerminal(stream, stream, {}), signal: new AbortController().signal, env: {} };
  const words = line.split(" ").map((word) => word.replaceAll("@", `${folder}/`));
  const { grpcAddress, adminToken } = service;
  await createProgram(cli).parseAsync(["--server", grpcAddress, "--token", adminToken, ...words], {
    from: "user",
  });
  return text;
}

it("the first day, a release and a rotation of the keys", async () => {
  await publish(service, newContent(100), { product: "lamp", version: "1.0.0" });
  for (const name of ["root-a", "root-b", "root-c", "targets"]) await run(`firmware keygen --out @${name}`);
  await run("tuf online-key lamp --out @online.pub.pem");
  const keys = "--root-threshold 2 --targets-key @targets.pub.pem";
  await run(
    `tuf init --root-key @root-a.pub.pem,@root-b.pub.pem ${keys} --online-key @online.pub.pem --out @root.json`,
  );
  await run("tuf sign @root.json --key @root-a.key.pem");
  await expect(run("tuf publish lamp @root.json")).rejects.toThrow(
    "root 1 has 1 valid signatures of the root keys in root 1, 2 are needed",
  );
  expect(await run("tuf sign @root.json --key @root-b.key.pem")).toMatch(/signatures +2/);
  await run("tuf draft lamp --out @targets.json");
  expect(await run("tuf sign @targets.json --key @targets.key.pem")).toMatch(/firmware +1\.0\.0, 100 bytes/);
  expect(await run("tuf publish lamp @root.json @targets.json")).toMatch(/timestamp +1 /);

  await using mirror = await TufMirror.start(service);
  const client = await mirror.client("lamp", await readFile(join(folder, "root.json")));
  expect(await client.find("1.0.0")).toBeDefined();

  // A root key is lost, and the service gets another key with the next root.
  await run("tuf online-key lamp --out @online-2.pub.pem");
  await run(
    `tuf init --previous @root.json --root-key @root-b.pub.pem,@root-c.pub.pem ${keys} --online-key @online-2.pub.pem --out @root-2.json`,
  );
  for (const name of ["root-a", "root-b", "root-c"])
    await run(`tuf sign @root-2.json --key @${name}.key.pem`);
  await run("tuf publish lamp @root-2.json");
  expect(await run("tuf show lamp")).toMatch(/root +2 /);
  expect(await client.find("1.0.0")).toBeDefined();
});

it("refuses what cannot be root, and never writes over it", async () => {
  await writeFile(join(folder, "note.json"), "{}");
  await expect(run("tuf sign @note.json --key @targets.key.pem")).rejects.toThrow("targets metadata");
  expect(await readFile(join(folder, "note.json"), "utf8")).toBe("{}");
  const init =
    "tuf init --root-key @root-a.pub.pem --targets-key @targets.pub.pem --online-key @online.pub.pem";
  await expect(run(`${init} --root-threshold 2 --out @never.json`)).rejects.toThrow("threshold of 1 to 1");
  await expect(run(`${init} --out @root.json`)).rejects.toThrow("root.json exists");
});
