import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import type { CountByName } from "../../gen/ota/v1/device_service_pb.js";
import type { RingCensus } from "../../gen/ota/v1/rollout_pb.js";
import {
  type ExplainedRule,
  type ExplainUpdateResponse,
  ExplainUpdateResponseSchema,
  type HeldBack,
  PreviewRolloutRequestSchema,
  type PreviewRolloutResponse,
  PreviewRolloutResponseSchema,
  RolloutService,
} from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReasonSchema } from "../../gen/ota/v1/update_service_pb.js";
import { cleanText, countText, enumText } from "./format.ts";
import { deviceId, firmwareId, rolloutId, rolloutReference } from "./references.ts";
import {
  addRolloutOptions,
  type RolloutOptions,
  resolvedRolloutParts,
  saltOption,
} from "./rollout-options.ts";
import { noteWarnings } from "./rollout-warnings.ts";
import { type Cli, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** `rollout preview` and `rollout explain`: what a rollout would reach, and why a device gets it or not. */
export function addPreviewCommands(rollout: Command, cli: Cli): void {
  addRolloutOptions(
    rollout
      .command("preview")
      .argument("[firmware]", "the firmware that would be brought: its id or product@version")
      .option("--rollout <rollout>", "a rollout that exists instead: its id, `latest`, or product@version")
      .addOption(saltOption())
      .description("Say how many devices a rollout would reach, and what holds the others back"),
  ).action(
    withSession(
      cli,
      async (
        session,
        firmware: string | undefined,
        options: RolloutOptions & { rollout?: string; salt?: string },
      ) => {
        // The service refuses what does not go together.
        const request = create(PreviewRolloutRequestSchema, {
          rolloutId: options.rollout === undefined ? "" : await rolloutId(session, options.rollout),
          firmwareId: firmware === undefined ? "" : await firmwareId(session, firmware),
          salt: options.salt ?? "",
          ...(await resolvedRolloutParts(session, options)),
        });
        const preview = await session.call(RolloutService.method.previewRollout, request);
        noteWarnings(session, preview.warnings);
        session.print(PreviewRolloutResponseSchema, preview, () => renderPreview(session.terminal, preview));
      },
    ),
  );

  rollout
    .command("explain")
    .argument("<device>", "the device: its id or serial number")
    .argument("[rollout]", rolloutReference, "latest")
    .description(
      "Say why a device gets a rollout's update now, or why it does not: every rule with its value",
    )
    .action(
      withSession(cli, async (session, device: string, reference: string) => {
        const explained = await session.call(RolloutService.method.explainUpdate, {
          rolloutId: await rolloutId(session, reference),
          deviceId: await deviceId(session, device),
        });
        session.print(ExplainUpdateResponseSchema, explained, () =>
          renderExplanation(session.terminal, explained),
        );
      }),
    );
}

function renderPreview(terminal: Terminal, preview: PreviewRolloutResponse): string {
  const facts = renderFacts(terminal, [
    ["targeted", countText(preview.targetedCount, "device")],
    ["ready now", countText(preview.readyCount, "device")],
    [
      "no readings",
      preview.unknownReadingsCount === 0n
        ? undefined
        : `${countText(preview.unknownReadingsCount, "device")} of these never told charge or free storage`,
    ],
    ["rings", countsText(preview.rings)],
    ["models", countsText(preview.hardwareModels)],
    ["versions", countsText(preview.currentVersions)],
    ["salt", preview.salt],
  ]);
  const rings = renderTable(terminal, censusColumns, namedCensus(preview));
  if (preview.heldBack.length === 0) return `${facts}\n\n${rings}`;
  return `${facts}\n\n${rings}\n\n${heldBackTable(terminal, preview.heldBack)}`;
}

/** Devices that would not be offered the update now, by what holds them back. */
export function heldBackTable(terminal: Terminal, heldBack: readonly HeldBack[]): string {
  return renderTable(
    terminal,
    [
      { title: "held back by", text: ({ reason }) => enumText(NoOfferReasonSchema, reason) },
      { title: "devices", text: ({ count }) => String(count), align: "right" },
      { title: "rule", text: ({ message }) => cleanText(message) },
      { title: "for example", text: ({ deviceIds }) => deviceIds[0] ?? "" },
    ],
    heldBack,
  );
}

interface NamedCensus {
  readonly name: string;
  readonly census: RingCensus;
}

function namedCensus({ rings, ringCensus }: PreviewRolloutResponse): NamedCensus[] {
  return rings.flatMap(({ name }, at) => {
    const census = ringCensus[at];
    return census === undefined ? [] : [{ name, census }];
  });
}

const censusColumns: readonly Column<NamedCensus>[] = [
  { title: "ring", text: ({ name }) => cleanText(name) },
  { title: "devices", text: ({ census }) => String(census.devices), align: "right" },
  { title: "to ask", text: ({ census }) => String(census.awaited), align: "right" },
  { title: "reachable", text: ({ census }) => String(census.reachable), align: "right" },
  { title: "held back", text: ({ census }) => String(census.heldBack), align: "right" },
  { title: "gone", text: ({ census }) => String(census.gone), align: "right" },
];

function renderExplanation(terminal: Terminal, explained: ExplainUpdateResponse): string {
  const { deviceUpdate, offered, noOfferReason, ring, rules, summary } = explained;
  const facts = renderFacts(terminal, [
    ["offered", offered ? terminal.paint("green", "yes") : terminal.paint("yellow", "no")],
    ["why", cleanText(summary)],
    ["reason", offered ? undefined : enumText(NoOfferReasonSchema, noOfferReason)],
    ["ring", ring === "" ? undefined : cleanText(ring)],
    ["so far", deviceUpdate === undefined ? undefined : `update ${deviceUpdate.id}`],
  ]);
  const columns: Column<ExplainedRule>[] = [
    { title: "", text: ({ holds }) => (holds ? terminal.paint("green", "+") : terminal.paint("red", "-")) },
    { title: "rule", text: ({ name }) => cleanText(name) },
    { title: "required", text: ({ required }) => cleanText(required) },
    { title: "actual", text: ({ actual }) => cleanText(actual) },
    { title: "outcome", text: ({ message }) => cleanText(message) },
  ];
  return `${facts}\n\n${renderTable(terminal, columns, rules)}`;
}

function countsText(counts: readonly CountByName[]): string | undefined {
  if (counts.length === 0) return undefined;
  return counts.map(({ name, count }) => `${cleanText(name) || "unknown"} ${count}`).join(", ");
}
