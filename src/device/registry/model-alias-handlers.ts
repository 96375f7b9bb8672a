import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DeviceService, type ModelAliasSchema } from "../../../gen/ota/v1/device_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import type { ModelAliasRow } from "./model-alias.entity.ts";
import type { ModelAliases } from "./model-aliases.ts";

/** The endpoints of DeviceService for aliases of hardware models. */
export function modelAliasEndpoints(aliases: ModelAliases): Endpoint[] {
  const { method } = DeviceService;
  return [
    unary(method.createModelAlias, apiCalls, async ({ alias, hardwareModel }, { identity }) => ({
      modelAlias: toMessage(await aliases.create({ actor: actorOf(identity), alias, hardwareModel })),
    })),
    unary(method.listModelAliases, apiCalls, async () => ({
      modelAliases: (await aliases.list()).map(toMessage),
    })),
    unary(method.deleteModelAlias, apiCalls, async ({ alias }, { identity }) => {
      await aliases.delete({ actor: actorOf(identity), alias });
      return {};
    }),
  ];
}

function toMessage(row: ModelAliasRow): MessageInitShape<typeof ModelAliasSchema> {
  const { alias, hardwareModel, creator, createdAt } = row;
  return { alias, hardwareModel, creator, createTime: timestampFromDate(createdAt) };
}
