import "@mantine/core/styles/Tabs.css";
import { Tabs } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { type AccessSearch, accessTabs } from "../addresses/access-search.ts";
import { useSession } from "../session/session.tsx";
import { Page } from "../ui/page.tsx";
import { EnrolmentKeysPanel } from "./enrolment-keys-panel.tsx";
import { SigningKeysPanel } from "./signing-keys-panel.tsx";
import { TokensPanel } from "./tokens-panel.tsx";

const route = getRouteApi("/access");

/** Who may do what: operators' tokens, the keys that sign firmware, the keys with which devices enrol. */
export function AccessPage() {
  const { can } = useSession();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const shown = accessTabs.filter((tab) => tab === "signing-keys" || can(AccessService.method.listTokens));
  const tab = search.tab !== undefined && shown.includes(search.tab) ? search.tab : shown[0];
  return (
    <Page
      title="Access"
      description="Secrets are shown once, when they are made; the service keeps only hashes."
    >
      <Tabs
        value={tab ?? null}
        onChange={(value) => void navigate({ search: { tab: value as NonNullable<AccessSearch["tab"]> } })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          {shown.map((each) => (
            <Tabs.Tab key={each} value={each}>
              {labels[each]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="tokens">
          <TokensPanel />
        </Tabs.Panel>
        <Tabs.Panel value="signing-keys">
          <SigningKeysPanel />
        </Tabs.Panel>
        <Tabs.Panel value="enrolment-keys">
          <EnrolmentKeysPanel />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

const labels = {
  tokens: "Operators' tokens",
  "signing-keys": "Signing keys",
  "enrolment-keys": "Enrolment keys",
} as const;
