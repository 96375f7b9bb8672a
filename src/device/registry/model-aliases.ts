import type { EntityManager } from "@mikro-orm/postgresql";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument, notFound, OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { ModelAliasEntity, type ModelAliasRow } from "./model-alias.entity.ts";
import { requireTargetNames } from "./target-names.ts";

/** An alias to keep. */
export interface NewModelAlias {
  readonly actor: string;
  readonly alias: string;
  readonly hardwareModel: string;
}

/**
 * Names under which devices report a hardware model beside its own: `Raspberry Pi 4 Model B Rev 1.4` is an `rpi4-b`. They
 * stand for the model wherever models are compared; devices keep the name that they enrolled with. An alias has one model, and
 * no aliases of its own.
 */
export class ModelAliases {
  readonly #database: Pick<Database, "em" | "transact">;
  readonly #audit: AuditLog;

  constructor(parts: { readonly database: Pick<Database, "em" | "transact">; readonly audit: AuditLog }) {
    this.#database = parts.database;
    this.#audit = parts.audit;
  }

  /**
   * Says that a name stands for a model; the same again changes nothing. `INVALID_REQUEST` for names that are none, for
   * chains, and beyond {@link maxAliases}; `DUPLICATE` for an alias of another model.
   */
  async create({ actor, alias, hardwareModel }: NewModelAlias): Promise<ModelAliasRow> {
    requireNames(alias, hardwareModel);
    return await this.#database.transact(async (em) => {
      await sessionOf(em).run(lockSql);
      const known = await em.findOne(ModelAliasEntity, alias);
      if (known?.hardwareModel === hardwareModel) return known;
      if (known !== null) throw taken(known);
      await requireNoChain(em, alias, hardwareModel);
      if ((await em.count(ModelAliasEntity)) >= maxAliases) {
        throw invalidArgument("alias", `there are ${maxAliases} aliases already: delete one first`);
      }
      await em.insert(ModelAliasEntity, { alias, hardwareModel, creator: actor });
      await this.#record(em, actor, "create", { alias, hardwareModel });
      return await em.findOneOrFail(ModelAliasEntity, alias);
    });
  }

  /** All of them by alias. */
  async list(): Promise<ModelAliasRow[]> {
    return await this.#database
      .em()
      .find(ModelAliasEntity, {}, { orderBy: { alias: "asc" }, limit: maxAliases, disableIdentityMap: true });
  }

  /** Takes an alias away. Throws `NOT_FOUND`. */
  async delete({ actor, alias }: Pick<NewModelAlias, "actor" | "alias">): Promise<void> {
    await this.#database.transact(async (em) => {
      await sessionOf(em).run(lockSql);
      const row = await em.findOne(ModelAliasEntity, alias);
      if (row === null) throw notFound("model alias", alias);
      await em.nativeDelete(ModelAliasEntity, { alias });
      await this.#record(em, actor, "delete", row);
    });
  }

  async #record(
    em: EntityManager,
    actor: string,
    verb: "create" | "delete",
    { alias, hardwareModel }: Pick<ModelAliasRow, "alias" | "hardwareModel">,
  ): Promise<void> {
    await this.#audit.record(em, {
      actor,
      action: `model_alias.${verb}`,
      resourceType: "model_alias",
      resourceId: alias,
      details: { alias, hardware_model: hardwareModel },
    });
  }
}

/** Read whole whenever rollouts are compiled; more than a fleet has boards. */
const maxAliases = 500;

/** One changes them at a time: what makes a chain is in two rows. */
const lockSql = sql`LOCK TABLE model_aliases IN SHARE ROW EXCLUSIVE MODE`;

function requireNames(alias: string, hardwareModel: string): void {
  requireTargetNames({ alias, hardware_model: hardwareModel });
  if (alias === hardwareModel) throw invalidArgument("alias", "must be another name than the model's own");
}

async function requireNoChain(em: EntityManager, alias: string, hardwareModel: string): Promise<void> {
  const above = await em.findOne(ModelAliasEntity, hardwareModel);
  if (above !== null)
    throw invalidArgument("hardware_model", `is an alias itself: of ${above.hardwareModel}, name that`);
  if ((await em.count(ModelAliasEntity, { hardwareModel: alias })) > 0)
    throw invalidArgument("alias", "is a model that has aliases: delete these first");
}

function taken({ alias, hardwareModel }: ModelAliasRow): OtaError {
  return new OtaError("already_exists", "DUPLICATE", `${alias} is an alias of ${hardwareModel} already`, {
    metadata: { resource: "model_alias", name: alias },
  });
}
