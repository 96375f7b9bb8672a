import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";

/** Another name under which devices of a hardware model report it. */
export interface ModelAlias {
  readonly alias: string;
  readonly hardwareModel: string;
}

/** Which names stand for one hardware model, in memory: what operators said by aliases. */
export class ModelNames {
  /** The names of a model, itself included, by each of them. */
  readonly #byName = new Map<string, readonly string[]>();

  constructor(aliases: readonly ModelAlias[]) {
    for (const [model, of] of Map.groupBy(aliases, ({ hardwareModel }) => hardwareModel)) {
      const names = [model, ...of.map(({ alias }) => alias)];
      for (const name of names) this.#byName.set(name, names);
    }
  }

  /** Every name of the model that has this one. */
  namesOf(model: string): readonly string[] {
    return this.#byName.get(model) ?? [model];
  }

  /** Every name of some models. None stay none. */
  allOf(models: readonly string[]): readonly string[] {
    if (this.#byName.size === 0) return models;
    return [...new Set(models.flatMap((model) => this.namesOf(model)))];
  }
}

/** No aliases: a model has one name. */
export const plainModels = new ModelNames([]);

/** Reads the aliases of all models: few, if any. */
export async function readModelNames(session: Session): Promise<ModelNames> {
  return new ModelNames(await session.query<ModelAlias>(aliasesSql));
}

const aliasesSql = sql`SELECT alias, hardware_model AS "hardwareModel" FROM model_aliases ORDER BY hardware_model, alias`;
