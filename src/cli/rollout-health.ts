import type { Command } from "commander";
import {
  type HealthSignal,
  HealthVerdict,
  HealthVerdictSchema,
  type RolloutHealth,
  RolloutHealthSchema,
} from "../../gen/ota/v1/rollout_pb.js";
import { ListFailureReasonsResponseSchema, RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText, countText, enumText, timeText } from "./format.ts";
import { rolloutId, rolloutReference } from "./references.ts";
import { type Cli, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** `rollout health` and `rollout failures`: how updated devices fare, and why updates failed. */
export function addHealthCommands(rollout: Command, cli: Cli): void {
  rollout
    .command("health")
    .argument("[rollout]", rolloutReference, "latest")
    .description("Compare updated devices with the others of the same models over the same hours")
    .action(
      withSession(cli, async (session, reference: string) => {
        const id = await rolloutId(session, reference);
        const { health } = await session.call(RolloutService.method.getRolloutHealth, { id });
        if (health === undefined)
          throw new CliError(exitCodes.failure, "the service answered without a comparison");
        session.print(RolloutHealthSchema, health, () => renderHealth(session.terminal, health));
      }),
    );

  rollout
    .command("failures")
    .argument("[rollout]", rolloutReference, "latest")
    .description("Count the devices whose update failed, by reason")
    .action(
      withSession(cli, async (session, reference: string) => {
        const id = await rolloutId(session, reference);
        const answer = await session.call(RolloutService.method.listFailureReasons, { id });
        const { failureReasons } = answer;
        session.print(ListFailureReasonsResponseSchema, answer, () =>
          failureReasons.length === 0
            ? "No failures."
            : renderTable(
                session.terminal,
                [
                  { title: "reason", text: ({ name }) => cleanText(name) },
                  { title: "devices", text: ({ count }) => String(count), align: "right" },
                ],
                failureReasons,
              ),
        );
      }),
    );
}

function renderHealth(terminal: Terminal, health: RolloutHealth): string {
  const facts = renderFacts(terminal, [
    ["verdict", verdictText(terminal, health.verdict)],
    ["why", cleanText(health.message)],
    ["updated", countText(health.updatedDeviceCount, "device")],
    ["others", countText(health.controlDeviceCount, "device")],
    ["until", health.evaluateTime === undefined ? undefined : timeText(health.evaluateTime)],
  ]);
  if (health.signals.length === 0) return facts;
  const columns: Column<HealthSignal>[] = [
    { title: "signal", text: ({ name }) => cleanText(name) },
    { title: "verdict", text: ({ verdict }) => verdictText(terminal, verdict) },
    { title: "outcome", text: ({ message }) => cleanText(message) },
    { title: "p", text: ({ pValue }) => pValue.toPrecision(2), align: "right" },
  ];
  return `${facts}\n\n${renderTable(terminal, columns, health.signals)}`;
}

function verdictText(terminal: Terminal, verdict: HealthVerdict): string {
  const text = enumText(HealthVerdictSchema, verdict);
  if (verdict === HealthVerdict.WORSE) return terminal.paint("red", text);
  return verdict === HealthVerdict.NO_WORSE ? terminal.paint("green", text) : text;
}
