import { raw } from "@mikro-orm/postgresql";
import { Parameters } from "./parameters.ts";
import type { Sql } from "./sql.ts";

/** What makes a condition, and adds its values to the parameters. */
interface Condition {
  sql(parameters: Parameters): Sql;
}

/** A condition of our own among those of the ORM, whose parameters have question marks. Columns are named as in the database. */
export function ormCondition(condition: Condition): object {
  const parameters = new Parameters();
  const { text } = condition.sql(parameters);
  const values: unknown[] = [];
  // A question mark of the text itself would have to be doubled; no condition has one.
  const marked = text.replaceAll(/\$(\d{1,4})/g, (_, number: string) => {
    values.push(parameters.values[Number(number) - 1]);
    return "?";
  });
  return { [raw(marked, values)]: [] };
}
