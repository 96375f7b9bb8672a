import { execFile } from "node:child_process";
import { globSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { outside, rooms } from "../../scripts/walls.ts";

const root = join(import.meta.dirname, "../..");

/** A file, what it imports, and whether the walls let it. */
const imports: readonly (readonly [file: string, specifier: string, may: boolean])[] = [
  ["src/device/state/planted.ts", "../../infra/clock.ts", true],
  ["src/device/state/planted.ts", "../../infra/database/database.ts", true],
  ["src/device/state/planted.ts", "../../errors.ts", true],
  ["src/device/state/planted.ts", "../../access/audit-log.ts", true],
  ["src/device/state/planted.ts", "./neighbour.ts", true],
  ["src/device/state/planted.ts", "pg", false],
  ["src/heartbeat/planted.ts", "pg", true],
  ["src/device/state/planted.ts", "pino", true],
  ["src/device/state/planted.ts", "../filter/filter-sql.ts", false],
  ["src/device/state/planted.ts", "../fleet/fleet-watch.ts", false],
  ["src/device/state/planted.ts", "../../rollout/model/rollout.ts", false],
  ["src/device/state/planted.ts", "../../assembly/foundation.ts", false],
  ["src/device/state/planted.ts", "../../entities.ts", false],
  ["src/device/state/planted.ts", "../../server.ts", false],
  ["src/device/state/planted.ts", "../../config.ts", false],
  ["src/device/state/planted.ts", "../../../gen/ota/v1/device_pb.js", false],
  ["src/device/state/planted.ts", "../../../test/support/eventually.ts", false],
  ["src/device/state/planted.ts", "@bufbuild/protobuf", false],
  ["src/device/state/planted.ts", "@connectrpc/connect", false],
  ["src/device/state/planted.ts", "@grpc/grpc-js", false],
  ["src/device/state/planted.ts", "fastify", false],
  ["src/device/state/planted.ts", "../../unheard/of.ts", false],
  ["src/device/registry/planted-handlers.ts", "../../../gen/ota/v1/device_pb.js", true],
  ["src/device/registry/planted-handlers.ts", "../../api/pipeline/endpoint.ts", true],
  ["src/device/registry/planted-handlers.ts", "../../api/grpc/grpc-door.ts", false],
  ["src/device/registry/planted-handlers.ts", "@connectrpc/connect", false],
  ["src/infra/planted.ts", "../errors.ts", true],
  ["src/infra/planted.ts", "../assembly/foundation.ts", false],
  ["src/infra/planted.ts", "../entities.ts", false],
  ["src/call/planted.ts", "../access/secret.ts", false],
  ["src/access/planted.ts", "../manifest/manifest.ts", true],
  ["src/access/planted.ts", "../device/state/presence.ts", false],
  ["src/rollout/model/planted.ts", "../proof/evidence.ts", false],
  ["src/rollout/proof/planted.ts", "../model/gate.ts", true],
  ["src/rollout/planted.ts", "./model/gate.ts", true],
  ["src/heartbeat/planted.ts", "../rollout/offer/directives.ts", true],
  ["src/heartbeat/planted.ts", "../rollout/proof/evidence.ts", false],
  ["src/agent/planted.ts", "../infra/clock.ts", true],
  ["src/agent/planted.ts", "../infra/database/database.ts", false],
  ["src/agent/planted.ts", "pg", false],
  ["src/cli/planted.ts", "../server.ts", false],
  ["src/cli/serve.ts", "../server.ts", true],
  ["src/server.ts", "./assembly/foundation.ts", true],
  ["src/server.ts", "./cli/command-line.ts", false],
  ["src/config.ts", "./infra/database/database.ts", false],
  ["src/errors.ts", "./config.ts", false],
  ["src/console/ui/planted.tsx", "../session/session.tsx", false],
  ["src/console/rollouts/planted.tsx", "../session/session.tsx", true],
  ["src/console/rollouts/planted.tsx", "../devices/device-page.tsx", false],
  ["src/console/rollouts/planted.tsx", "../../../gen/ota/v1/rollout_pb.js", true],
  ["src/console/rollouts/planted.tsx", "../../rollout/model/gate.ts", false],
  ["src/console/rollouts/planted.tsx", "../../policy/policy-fields.ts", true],
  ["src/policy/planted.ts", "../errors.ts", false],
  ["src/policy/planted.ts", "../../gen/ota/v1/rollout_pb.js", false],
  ["src/policy/planted-messages.ts", "../../gen/ota/v1/rollout_pb.js", true],
  ["src/a-new-room/planted.ts", "../errors.ts", false],
  ["src/device/state/planted.test.ts", "../../../test/support/fake-clock.ts", true],
  ["src/device/state/planted.test.ts", "../../rollout/model/gate.ts", false],
  ["test/device/planted.test.ts", "../support/eventually.ts", true],
  ["test/device/planted.test.ts", "../../src/rollout/model/gate.ts", true],
  ["test/device/planted.test.ts", "../faults/service-process.ts", false],
  ["test/support/planted.ts", "../device/device-fixture.ts", false],
  ["bench/load/planted.ts", "../../src/rollout/model/gate.ts", false],
];

describe("the walls between rooms", () => {
  it("let through what the table names and nothing else", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "walls-"));
    const refused = await refusals(folder.path);
    const wrong = imports.filter(([file, specifier, may]) => refused.has(`${file} ${specifier}`) === may);
    expect(wrong).toEqual([]);
  });

  it("have a row for each folder", () => {
    const known = new Set(
      Object.entries({ ...prefixed("src", rooms), ...outside }).flatMap(([room, { rooms: within = {} }]) => [
        room,
        ...Object.keys(within).map((inner) => `${room}/${inner}`),
      ]),
    );
    const folders = new Set(
      globSync("{src,test,bench,scripts}/**/*.{ts,tsx}", { cwd: root, exclude: ["**/gen/**"] }).map((file) =>
        dirname(file),
      ),
    );
    folders.delete("src");
    expect([...folders].filter((folder) => !known.has(folder))).toEqual([]);
    const empty = [...known].filter(
      (room) => ![...folders].some((folder) => `${folder}/`.startsWith(`${room}/`)),
    );
    expect(empty.filter((room) => !room.endsWith(".ts"))).toEqual([]);
  });
});

function prefixed<T>(folder: string, table: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(table).map(([key, value]) => [`${folder}/${key}`, value]));
}

/** The planted imports that the linter refuses by the project's own walls, as file and specifier. */
async function refusals(folder: string): Promise<Set<string>> {
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(
    join(folder, "oxlint.config.ts"),
    `import { wallOverrides } from ${JSON.stringify(join(root, "scripts/wall-rules.ts"))};
     export default { categories: { correctness: "off" }, overrides: wallOverrides };`,
  );
  for (const [file, specifier] of imports) {
    const place = join(folder, file);
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, `import ${JSON.stringify(specifier)};\n`, { flag: "a" });
  }
  const linted = promisify(execFile)(
    process.execPath,
    [join(root, "node_modules/oxlint/bin/oxlint"), "--format", "json"],
    { cwd: folder, maxBuffer: 16 * 2 ** 20 },
  ).catch((failure: { stdout: string; code: unknown }) => {
    if (failure.code === 1) return failure;
    throw failure as unknown as Error;
  });
  const { stdout } = await linted;
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: { filename: string; message: string }[] };
  return new Set(
    diagnostics.map(
      ({ filename, message }) => `${filename} ${/'([^']+)' import is restricted/.exec(message)?.[1]}`,
    ),
  );
}
