import type { Command } from "commander";
import {
  DeleteModelAliasResponseSchema,
  DeviceService,
  ListModelAliasesResponseSchema,
  type ModelAlias,
  ModelAliasSchema,
} from "../../gen/ota/v1/device_service_pb.js";
import { cleanText } from "./format.ts";
import { type Cli, withSession } from "./session.ts";
import { renderTable } from "./table.ts";

/** `model alias`, `model list` and `model unalias`: the names under which devices report a hardware model. */
export function addModelAliasCommands(program: Command, cli: Cli): void {
  const model = program.command("model").description("Names under which devices report a hardware model");
  model
    .command("alias")
    .argument("<alias>", "the name that devices report, for example 'Raspberry Pi 4 Model B Rev 1.4'")
    .argument("<model>", "the hardware model that it stands for")
    .description("Say that a name stands for a model wherever models are compared")
    .action(
      withSession(cli, async (session, alias: string, hardwareModel: string) => {
        const { modelAlias } = await session.call(DeviceService.method.createModelAlias, {
          alias,
          hardwareModel,
        });
        if (modelAlias !== undefined) {
          session.print(ModelAliasSchema, modelAlias, () => `${lineOf(modelAlias)}.`);
        }
      }),
    );
  model
    .command("list")
    .description("List the aliases of all models")
    .action(
      withSession(cli, async (session) => {
        const answer = await session.call(DeviceService.method.listModelAliases, {});
        session.print(ListModelAliasesResponseSchema, answer, () =>
          renderTable(
            session.terminal,
            [
              { title: "alias", text: ({ alias }) => cleanText(alias) },
              { title: "model", text: ({ hardwareModel }) => cleanText(hardwareModel) },
              { title: "by", text: ({ creator }) => cleanText(creator) },
            ],
            answer.modelAliases,
          ),
        );
      }),
    );
  model
    .command("unalias")
    .argument("<alias>", "the name that stands for a model no more")
    .description("Take an alias away")
    .action(
      withSession(cli, async (session, alias: string) => {
        const answer = await session.call(DeviceService.method.deleteModelAlias, { alias });
        session.print(
          DeleteModelAliasResponseSchema,
          answer,
          () => `${cleanText(alias)} is a model of its own again.`,
        );
      }),
    );
}

function lineOf({ alias, hardwareModel }: ModelAlias): string {
  return `${cleanText(alias)} stands for ${cleanText(hardwareModel)}`;
}
