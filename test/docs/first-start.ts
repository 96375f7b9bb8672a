import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { startCli } from "../support/run-cli.ts";

/** A first start makes a database cluster, which takes a busy machine a while. */
const startDeadlineMs = 60_000;

/** What a newcomer has after the first `make run`. */
export interface FirstStart extends AsyncDisposable {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  /** As it was left in the data folder. */
  readonly adminToken: string;
  /** As it was shown. */
  readonly enrolmentKey: string;
}

/** Starts the service as `make run` does, in an empty folder and on free ports. Disposing it stops it in order. */
export async function firstStart(): Promise<FirstStart> {
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "device-ota-first-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const run = startCli(["serve", "--http-port", "0", "--grpc-port", "0"], { cwd: folder });
  opened.defer(async () => {
    run.child.kill("SIGTERM");
    await run.result;
  });
  const shown = await eventually(() => {
    const { stderr, stdout } = run.output;
    const find = (what: RegExp): string => {
      const found = what.exec(stderr)?.[1];
      if (found === undefined) throw new Error(`it is not up: ${stderr}\n${stdout}`);
      return found;
    };
    return {
      httpUrl: find(/REST, Connect +(http:\S+)/),
      grpcAddress: find(/gRPC +(\S+:\d+)/),
      enrolmentKey: find(/enrolment key +(\S+)\n/),
    };
  }, startDeadlineMs);
  const adminToken = (await readFile(join(folder, "data/admin-token"), "utf8")).trim();
  const resources = opened.move();
  return { ...shown, adminToken, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
