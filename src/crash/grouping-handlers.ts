import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../api/pipeline/endpoint.ts";
import { actorOf } from "../call/identity.ts";
import { invalidArgument } from "../errors.ts";
import type { ErrorGroups } from "./error-groups.ts";
import { groupMessage, ruleMessage, trialMessage } from "./error-messages.ts";
import type { GroupMerges } from "./group-merges.ts";
import type { GroupingRules } from "./grouping-rules.ts";
import type { RuleTrials } from "./rule-trials.ts";

/** What these handlers call. */
interface GroupingParts {
  readonly groups: ErrorGroups;
  readonly merges: GroupMerges;
  readonly rules: GroupingRules;
  readonly trials: RuleTrials;
}

/** The endpoints of ErrorService by which operators say what belongs together. */
export function groupingEndpoints({ groups, merges, rules, trials }: GroupingParts): Endpoint[] {
  const { method } = ErrorService;
  return [
    unary(method.mergeErrorGroups, apiCalls, async ({ id, mergedIds, reason }, { identity }) => {
      await merges.merge({ actor: actorOf(identity), id, ids: mergedIds, reason });
      return { group: groupMessage(await groups.get(id)) };
    }),

    unary(method.splitErrorGroup, apiCalls, async ({ id, reason }, { identity }) => {
      await merges.split({ actor: actorOf(identity), id, reason });
      return { group: groupMessage(await groups.get(id)) };
    }),

    unary(method.listGroupingRules, apiCalls, async () => ({
      rules: (await rules.list()).map(ruleMessage),
    })),

    unary(method.createGroupingRule, apiCalls, async ({ rule }, { identity }) => {
      if (rule === undefined) throw invalidArgument("rule", "is required");
      const { title, fingerprint, code, fault, frame, message } = rule;
      const created = await rules.create({
        actor: actorOf(identity),
        title,
        fingerprint,
        code,
        fault,
        frame,
        message,
      });
      return { rule: ruleMessage(created) };
    }),

    unary(method.tryGroupingRule, apiCalls, async ({ report, code, fault, frame, message }) => {
      if (report === undefined) throw invalidArgument("report", "is required");
      const { buildId, ...reported } = report;
      const example = { ...reported, context: { build_id: buildId } };
      return trialMessage(await trials.try({ code, fault, frame, message }, example));
    }),

    unary(method.deleteGroupingRule, apiCalls, async ({ id, reason }, { identity }) => {
      await rules.delete(id, actorOf(identity), reason);
      return {};
    }),
  ];
}
