import type { Pool } from "../infra/database/pool.ts";
import { buildIdsOf, fingerprintFrom, type ReportedError, readReport, subjectOf } from "./fingerprint.ts";
import { failedConditions, type RuleConditions, type RuleSubject } from "./grouping-rule.ts";
import type { GroupingRules } from "./grouping-rules.ts";
import type { StackKind } from "./stacks/stack.ts";
import type { SymbolTables } from "./symbols/symbol-names.ts";

/** What {@link RuleTrials} is made of. */
export interface RuleTrialsParts {
  readonly pool: Pool;
  readonly rules: GroupingRules;
  readonly tables: SymbolTables;
}

/** How a report fares with the conditions of a rule. */
export interface RuleTrial {
  /** What of the report the conditions look at. */
  readonly subject: RuleSubject;
  readonly stackKind: StackKind;
  readonly failed: readonly (keyof RuleConditions)[];
  /** Whether there is a condition, and none fails. */
  readonly holds: boolean;
  /** By what it is grouped with the rules that there are. */
  readonly groupedBy: string;
}

/** Tries conditions of rules on reports before they are rules. Reads reports as the collector does, and stores nothing. */
export class RuleTrials {
  readonly #parts: RuleTrialsParts;

  constructor(parts: RuleTrialsParts) {
    this.#parts = parts;
  }

  async try(conditions: RuleConditions, report: ReportedError): Promise<RuleTrial> {
    const { pool, rules, tables } = this.#parts;
    const read = readReport(report);
    const symbols = await tables.inTries((find) => find(pool, buildIdsOf(read)));
    const subject = subjectOf(read, symbols);
    const failed = failedConditions(conditions, subject);
    const hasCondition = Object.values(conditions).some((condition) => condition !== "");
    return {
      subject,
      stackKind: read.stack.kind,
      failed,
      holds: hasCondition && failed.length === 0,
      groupedBy: fingerprintFrom(read, { rules: await rules.list(), symbols }).groupedBy,
    };
  }
}
