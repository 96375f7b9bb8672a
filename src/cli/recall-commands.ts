import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { type Recall, RecallSchema } from "../../gen/ota/v1/firmware_pb.js";
import {
  FirmwareService,
  ListRecallsResponseSchema,
  type PreviewRecallResponse,
  PreviewRecallResponseSchema,
} from "../../gen/ota/v1/firmware_service_pb.js";
import { VerbEffectSchema } from "../../gen/ota/v1/rollout_pb.js";
import { type Field, fieldsWhere } from "../policy/field.ts";
import { policyFields } from "../policy/policy-fields.ts";
import { toPolicyMessage } from "../policy/policy-messages.ts";
import { required } from "./failure.ts";
import { cleanText, countText, timeText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { addFieldOptions, givenByOptions } from "./policy-options.ts";
import { firmwareId, versionNamed } from "./references.ts";
import { heldBackTable } from "./rollout-preview.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { renderFacts, renderTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const { method } = FirmwareService;

/** `firmware recall`, `firmware reinstate` and `firmware recalls`: versions that no device may run any more. */
export function addRecallCommands(firmware: Command, cli: Cli): void {
  const recall = firmware
    .command("recall")
    .argument("<version>", VERSION)
    .description("Let no device run a version any more: nothing brings it, and whoever runs it is led out")
    .requiredOption(
      "--replacement <firmware>",
      "what whoever runs it is offered: a firmware's id or product@version",
    )
    .option("--reason <text>", "why, for people and the audit log")
    .option("--preview", "only say who runs it, and who could not leave; nothing is done");
  recall.optionsGroup("When and how devices take the replacement:");
  addFieldOptions(
    recall,
    fieldsWhere(policyFields, (field) => !given.has(field)),
  );
  recall.action(
    withSession(cli, async (session, reference: string, options: RecallOptions) => {
      const request = {
        ...versionNamed(reference),
        replacementId: await firmwareId(session, options.replacement),
        policy: toPolicyMessage(givenByOptions(policyFields, options)),
      };
      if (options.preview === true) {
        const reach = await session.call(method.previewRecall, request);
        session.print(PreviewRecallResponseSchema, reach, () => renderReach(session.terminal, reach));
        return;
      }
      const answer = await session.call(method.recallFirmware, {
        ...request,
        reason: options.reason ?? "",
      });
      const recalled = required(answer.recall, "a recall");
      session.printEffect(RecallSchema, recalled, answer.effect, () =>
        renderRecall(session.terminal, recalled),
      );
      if (!session.json)
        session.terminal.note(`Follow it with \`device-ota rollout watch ${recalled.rolloutId}\`.`);
    }),
  );

  firmware
    .command("reinstate")
    .argument("<version>", VERSION)
    .description("Take a recall back; its way out is aborted")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, options: { reason?: string }) => {
        const { effect } = await session.call(method.reinstateFirmware, {
          ...versionNamed(reference),
          reason: options.reason ?? "",
        });
        if (effect !== undefined) session.print(VerbEffectSchema, effect, () => cleanText(effect.message));
      }),
    );

  firmware
    .command("recalls")
    .description("List the versions that are recalled, newest first")
    .option("--product <name>", "only of this product")
    .addOption(limitOption())
    .action(withSession(cli, listRecalls));
}

interface RecallOptions extends Readonly<Record<string, unknown>> {
  readonly replacement: string;
  readonly reason?: string;
  readonly preview?: boolean;
}

const VERSION = "the version: the id of its firmware, or product@version, in the catalogue or not";

/** What of a rollout's policy is no matter of the operator's. */
const given = new Set<Field>([
  policyFields.startAt,
  policyFields.priority,
  policyFields.allowDowngrade,
  policyFields.healDrift,
  policyFields.rollbackFirmwareId,
]);

async function listRecalls(
  session: Session,
  { limit, product = "" }: { readonly limit: number; readonly product?: string },
): Promise<void> {
  const { items, nextPageToken } = await readPages(limit, async (page) => {
    const answer = await session.call(method.listRecalls, { product, ...page });
    return { items: answer.recalls, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListRecallsResponseSchema, { recalls: items, nextPageToken });
  session.print(ListRecallsResponseSchema, answer, () =>
    items.length === 0
      ? "No version is recalled."
      : renderTable(
          session.terminal,
          [
            { title: "product", text: ({ product: of }) => cleanText(of) },
            { title: "version", text: ({ version }) => cleanText(version) },
            { title: "replacement", text: ({ replacementVersion }) => cleanText(replacementVersion) },
            { title: "run it", text: runningText, align: "right" },
            { title: "by", text: ({ actor }) => cleanText(actor) },
            { title: "since", text: ({ recallTime }) => timeText(recallTime) },
            { title: "why", text: ({ reason }) => cleanText(reason) },
          ],
          items,
        ),
  );
  noteMore(session, nextPageToken);
}

function renderRecall(terminal: Terminal, recall: Recall): string {
  return renderFacts(terminal, [
    ["recall", recall.id],
    ["product", cleanText(recall.product)],
    ["version", cleanText(recall.version)],
    ["in the catalogue", recall.firmwareId === "" ? "no" : "yes"],
    ["application", recall.component === "" ? undefined : cleanText(recall.component)],
    ["replacement", cleanText(recall.replacementVersion)],
    ["run it still", runningText(recall)],
    ["way out", recall.rolloutId],
    ["reason", recall.reason === "" ? undefined : cleanText(recall.reason)],
    ["by", cleanText(recall.actor)],
    ["since", timeText(recall.recallTime)],
  ]);
}

function renderReach(terminal: Terminal, reach: PreviewRecallResponse): string {
  const facts = renderFacts(terminal, [
    ["run it", countText(reach.runningCount, "device")],
    ["ready now", countText(reach.readyCount, "device")],
    ["cannot leave", countText(reach.cannotLeaveCount, "device")],
    [
      "not made for",
      reach.unfitCount === 0n
        ? undefined
        : `${countText(reach.unfitCount, "device")} of these, by type or model`,
    ],
    ["bring it", countText(reach.rolloutCount, "rollout")],
  ]);
  return reach.heldBack.length === 0 ? facts : `${facts}\n\n${heldBackTable(terminal, reach.heldBack)}`;
}

function runningText({ runningCount }: Recall): string {
  return runningCount === undefined ? "not counted yet" : String(runningCount);
}
