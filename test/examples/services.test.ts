import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { BuiltExamples } from "./built-examples.ts";
import { ExampleService } from "./example-service.ts";
import { byToolchain, exampleServices, type ServiceExample } from "./toolchains.ts";

/* The internal services among the examples, each as its callers would run it, against one real service. */

const { ready, missing } = await byToolchain(exampleServices);

describe.skipIf(missing.length === 0)("without what they need", () => {
  for (const { name, needs } of missing) it.skip(`${name} is not run: ${needs}`);
});

describe.skipIf(ready.length === 0)("what this machine has the tools for", () => {
  let built: BuiltExamples;
  let service: TestService;
  beforeAll(async () => {
    built = await BuiltExamples.build(ready);
    service = await startTestService();
  }, 300_000);
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
    await built?.[Symbol.asyncDispose]();
  });

  it.each(ready)("$name", { timeout: 300_000 }, async (example) => {
    await stories[example.name]?.(example);
    expect.hasAssertions();
  });

  const stories: Readonly<Record<string, (example: ServiceExample) => Promise<void>>> = {
    "service-go": async (example) => {
      const id = await startedRollout();
      const cursorFile = join(built.folder(example), randomUUID());
      const env = { SERVICE: service.grpcAddress, TOKEN: await token(Role.VIEWER), CURSOR_FILE: cursorFile };
      {
        await using dashboard = ExampleService.start(example, built.folder(example), env);
        await eventually(() => {
          expect(dashboard.output).toMatch(/^ {2}app-\S+ 1\.1\.0 RUNNING .*canary 0 of 0, 0 failed; /m);
          expect(dashboard.output).toContain("rollout.start");
        });
        // What would clear the screen, change its title and turn words around is not for the terminal.
        await pause(id, "to be\u001b\u009b\u0007\u202e seen");
        await eventually(() => {
          expect(dashboard.output).toMatch(/^ {2}app-\S+ 1\.1\.0 PAUSED \(to be seen\): /m);
        });
        expect(dashboard.output).not.toMatch(/[^\P{C}\n]/u);
        await eventually(async () => expect(Number(await readFile(cursorFile, "utf8"))).toBeGreaterThan(0));
      }
      // Killed, and started again: it goes on where it was.
      await service.client().unary(RolloutService.method.resumeRollout, { id, reason: "to go on" });
      await using again = ExampleService.start(example, built.folder(example), env);
      await eventually(() => expect(again.output).toContain("rollout.resume"));
      expect(again.output).not.toContain("rollout.start");
    },

    "service-java": async (example) => {
      const running = await startedRollout();
      const paused = await startedRollout();
      await pause(paused, "by somebody else");
      const freeze = (verb: string, secret: string) =>
        promisify(execFile)("sh", ["-c", `exec ${example.command} "$@"`, "sh", verb, "incident 42"], {
          env: {
            PATH: process.env["PATH"],
            BUILT: built.folder(example),
            SERVICE: service.httpUrl,
            TOKEN: secret,
          },
        });
      const operator = await token(Role.OPERATOR);

      const frozen = await freeze("on", operator);
      expect(frozen.stdout).toContain(`(${running}): ROLLOUT_STATE_PAUSED`);
      expect(frozen.stdout).not.toContain(paused);
      expect(await stateOf(running)).toBe(RolloutState.PAUSED);
      const thawed = await freeze("off", operator);
      expect(thawed.stdout).toContain(`(${running}): ROLLOUT_STATE_RUNNING`);
      expect(await stateOf(running)).toBe(RolloutState.RUNNING);
      expect(await stateOf(paused)).toBe(RolloutState.PAUSED);

      // Whoever may only look freezes nothing, and hears so.
      await expect(freeze("on", await token(Role.VIEWER))).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining("ROLE_REQUIRED: ") as string,
      });
      await expect(freeze("on", "wrong")).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^CREDENTIAL_INVALID: /m) as string,
      });
    },
  };

  async function startedRollout(): Promise<string> {
    const rollouts = service.client();
    const { id: firmwareId } = await publish(service, newContent());
    const { rollout } = await rollouts.unary(RolloutService.method.createRollout, { firmwareId });
    const id = rollout?.id ?? "";
    await rollouts.unary(RolloutService.method.startRollout, { id });
    return id;
  }

  async function pause(id: string, reason: string): Promise<void> {
    await service.client().unary(RolloutService.method.pauseRollout, { id, reason });
  }

  async function stateOf(id: string): Promise<RolloutState | undefined> {
    return (await service.client().unary(RolloutService.method.getRollout, { id })).rollout?.state;
  }

  async function token(role: Role): Promise<string> {
    return (
      await service
        .client()
        .unary(AccessService.method.createToken, { name: `example ${randomUUID()}`, role })
    ).secret;
  }
});
