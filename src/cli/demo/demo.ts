import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { RpcClient } from "../../client/rpc-client.ts";
import { generateSigningKey } from "../../manifest/signature.ts";
import { CliError, exitCodes } from "../failure.ts";
import { durationMsText } from "../format.ts";
import type { Cli } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { type Check, checkStory } from "./demo-checks.ts";
import { startFleet } from "./demo-fleet.ts";
import { playStory } from "./demo-story.ts";
import { DemoView } from "./demo-view.ts";
import { type ServiceChild, startServiceChild } from "./service-child.ts";
import { badVersion, brickingVersion, factoryVersion, goodVersion, planStory } from "./story-plan.ts";

/** The fleet that is shown. */
export interface DemoOptions {
  readonly devices: number;
  readonly seed: number;
  readonly keep: boolean;
}

/** Plays the story and checks every claim; throws if one does not hold. */
export async function runDemo(cli: Cli, options: DemoOptions, json: boolean): Promise<void> {
  const startedAtMs = performance.now();
  const { terminal } = cli;
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "device-ota-demo-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const view = cleanup.use(new DemoView(terminal, { toStderr: json }));

  view.say("Starting the service with a database of its own …");
  const service = cleanup.use(await startServiceChild({ folder, env: cli.env, signal: cli.signal }));
  const signal = AbortSignal.any([cli.signal, service.ended]);
  view.say();
  view.say(`Watch it in a browser: ${service.httpUrl}/`);
  view.say(`  sign in with the token ${service.adminToken}`);
  if (!options.keep) view.say("  (it ends with the demo; device-ota demo --keep leaves it running)");
  view.say();
  view.say(`  ${service.httpUrl}  REST, Connect, health and metrics`);
  view.say(`  ${service.grpcAddress.padEnd(service.httpUrl.length)}  gRPC, for devices and tools`);

  try {
    const rpc = cleanup.use(new RpcClient({ address: service.grpcAddress, token: service.adminToken }));
    const signingKey = generateSigningKey();
    await rpc.unary(
      AccessService.method.registerSigningKey,
      { name: "demo release key", publicKeyPem: signingKey.publicKeyPem },
      { signal },
    );
    view.say(`Enrolling ${options.devices} devices that run ${factoryVersion} …`);
    const fleet = cleanup.use(
      await startFleet({
        address: service.grpcAddress,
        enrolmentKey: service.enrolmentKey,
        trustedKey: signingKey.publicKeyPem,
        devices: options.devices,
        seed: options.seed,
        logger: pino({ level: "warn" }, pino.destination({ dest: join(folder, "fleet.log"), sync: true })),
        signal,
      }),
    );
    const evidence = await playStory({
      rpc,
      fleet,
      view,
      plan: planStory(options.devices),
      devices: options.devices,
      signingKey,
      folder,
      startedAtMs,
      signal,
    });
    const checks = checkStory(evidence);
    view.close();
    report(terminal, checks, performance.now() - startedAtMs, json);
    if (options.keep) await keepRunning(cli, view, service, signal);
    const failed = checks.filter(({ ok }) => !ok).length;
    if (failed > 0)
      throw new CliError(exitCodes.failure, `${failed} of ${checks.length} claims did not hold`);
  } catch (error) {
    // What the user sees is that the service died, not the call that noticed it first.
    throw service.ended.aborted && !cli.signal.aborted ? service.ended.reason : error;
  }
}

function report(terminal: Terminal, checks: readonly Check[], elapsedMs: number, json: boolean): void {
  if (json) {
    const ok = checks.every((check) => check.ok);
    terminal.out(
      JSON.stringify(
        { ok, elapsedMs: Math.round(elapsedMs), goodVersion, badVersion, brickingVersion, checks },
        undefined,
        2,
      ),
    );
    return;
  }
  terminal.out();
  terminal.out(terminal.paint("bold", "What the service says happened"));
  for (const { claim, ok, detail } of checks) {
    const mark = ok ? terminal.paint("green", "✓") : terminal.paint("red", "✗");
    terminal.out(`  ${mark} ${claim}`);
    terminal.out(terminal.paint("dim", `      ${detail}`));
  }
  terminal.out();
  terminal.out(`${durationMsText(elapsedMs)} from an empty folder to here.`);
}

async function keepRunning(
  cli: Cli,
  view: DemoView,
  service: ServiceChild,
  signal: AbortSignal,
): Promise<void> {
  view.say();
  view.say("Still running, until Ctrl-C. Try in another terminal:");
  view.say(`  export DEVICE_OTA_SERVER=${service.grpcAddress} DEVICE_OTA_TOKEN=${service.adminToken}`);
  view.say("  device-ota fleet status");
  view.say("  device-ota rollout devices latest");
  view.say(`  the service's log: ${service.logFile}`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  if (!cli.signal.aborted) signal.throwIfAborted();
}
