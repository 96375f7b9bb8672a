import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../access/audit-log.ts";
import { notFound, OtaError } from "../errors.ts";
import type { Database } from "../infra/database/database.ts";
import type { Pool } from "../infra/database/pool.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { conditionsText, type GroupingRule, type RuleConditions } from "./grouping-rule.ts";

/** What {@link GroupingRules} is made of. */
export interface GroupingRulesParts {
  readonly database: Pick<Database, "transact" | "pool">;
  readonly audit: AuditLog;
}

/** A rule as an operator asks for it. */
export interface NewGroupingRule extends RuleConditions {
  readonly actor: string;
  readonly title: string;
  /** Empty: the rule's id. */
  readonly fingerprint: string;
}

/** The rules of operators by which errors are grouped, in the order in which they are tried. */
export class GroupingRules {
  readonly #parts: GroupingRulesParts;
  readonly #pool: Pool;

  constructor(parts: GroupingRulesParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
  }

  /** All rules, the first to be tried first. */
  async list(): Promise<GroupingRule[]> {
    return (await this.#pool.query<RuleRow>(rulesSql)).map(ruleOf);
  }

  /** Adds a rule behind the others; the audit log says so. Throws `QUEUE_FULL` beyond {@link maxRules}. */
  async create({ actor, ...rule }: NewGroupingRule): Promise<GroupingRule> {
    const id = uuidv7();
    const created = { ...rule, id, fingerprint: rule.fingerprint || id, createdBy: actor };
    const row = await this.#parts.database.transact(async (em, session) => {
      await session.run(lockSql);
      const [{ count } = { count: 0 }] = await session.query<{ count: number }>(countSql);
      if (count >= maxRules) throw tooMany();
      const { title, fingerprint, code, fault, frame, message } = created;
      const [inserted] = await session.query<RuleRow>(insertSql, [
        id,
        title,
        fingerprint,
        code,
        fault,
        frame,
        message,
        actor,
      ]);
      await this.#parts.audit.record(em, {
        actor,
        action: "grouping_rule.create",
        resourceType: "grouping_rule",
        resourceId: id,
        reason: "",
        details: { title, conditions: conditionsText(created) },
      });
      return inserted;
    });
    if (row === undefined) throw new Error("an inserted rule was not returned");
    return ruleOf(row);
  }

  /** Removes a rule; the audit log says so. Throws `NOT_FOUND`. */
  async delete(id: string, actor: string, reason: string): Promise<void> {
    await this.#parts.database.transact(async (em, session) => {
      const [row] = await session.query<RuleRow>(deleteSql, [id]);
      if (row === undefined) throw notFound("grouping rule", id);
      await this.#parts.audit.record(em, {
        actor,
        action: "grouping_rule.delete",
        resourceType: "grouping_rule",
        resourceId: id,
        reason,
        details: { title: row.title, conditions: conditionsText(row) },
      });
    });
  }
}

/** The rules as they are in a transaction. */
export async function readRules(session: Session): Promise<GroupingRule[]> {
  return (await session.query<RuleRow>(rulesSql)).map(ruleOf);
}

/** Each is tried on every report, so this bounds the cost of a report. */
const maxRules = 200;

interface RuleRow extends RuleConditions {
  readonly id: string;
  readonly title: string;
  readonly fingerprint: string;
  readonly created_by: string;
  readonly created_at: Date;
}

function ruleOf({ created_by: createdBy, created_at: createdAt, ...row }: RuleRow): GroupingRule {
  return { ...row, createdBy, createdAt };
}

function tooMany(): OtaError {
  return new OtaError(
    "resource_exhausted",
    "QUEUE_FULL",
    `there are ${maxRules} grouping rules already: delete one first`,
    {
      metadata: { max_rules: String(maxRules) },
    },
  );
}

const rulesSql = sql`
  SELECT id, title, fingerprint, code, fault, frame, message, created_by, created_at FROM grouping_rules
  ORDER BY created_at, id`;

const lockSql = sql`LOCK TABLE grouping_rules IN SHARE ROW EXCLUSIVE MODE`;

const countSql = sql`SELECT count(*)::float8 AS count FROM grouping_rules`;

const insertSql = sql`
  INSERT INTO grouping_rules (id, title, fingerprint, code, fault, frame, message, created_by)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
  RETURNING id, title, fingerprint, code, fault, frame, message, created_by, created_at`;

const deleteSql = sql`
  DELETE FROM grouping_rules WHERE id = $1
  RETURNING id, title, fingerprint, code, fault, frame, message, created_by, created_at`;
