import { useQuery } from "@connectrpc/connect-query";
import { Skeleton } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { useSession } from "../../session/session.tsx";
import { Failure } from "../../ui/failure.tsx";
import { Link } from "../../ui/link.tsx";
import { Page } from "../../ui/page.tsx";
import { NewRule } from "./new-rule.tsx";
import { RuleList } from "./rule-list.tsx";

const route = getRouteApi("/crashes/rules");

/** What operators say belongs together before any fingerprint: the rules, and a new one to write and try. */
export function GroupingRulesPage() {
  const { example } = route.useSearch();
  const isOperator = useSession().can(ErrorService.method.createGroupingRule);
  return (
    <Page
      title="Grouping rules"
      trail={[
        <Link key="list" to="/crashes">
          Crashes
        </Link>,
      ]}
      description="The first rule that holds decides to which group an error belongs, before its stack does. A rule holds for errors that come from then on."
    >
      <RuleList />
      {isOperator && example === undefined && <NewRule />}
      {isOperator && example !== undefined && <NewRuleFor key={example} groupId={example} />}
    </Page>
  );
}

/** A new rule whose example is the newest occurrence of a group. */
function NewRuleFor({ groupId }: { readonly groupId: string }) {
  const { data, error, refetch } = useQuery(ErrorService.method.getErrorGroup, { id: groupId });
  if (error !== null) return <Failure error={error} doing="read the example" retry={refetch} />;
  if (data === undefined) return <Skeleton h={320} />;
  return <NewRule group={data.group} report={data.newestOccurrence?.report} />;
}
