import { callUnaryMethod, useQuery, useTransport } from "@connectrpc/connect-query";
import { Button, Grid, Group, Select, SimpleGrid, Skeleton, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { type GetRolloutDefaultsResponse, RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { fromGateMessage, fromPolicyMessage } from "../../policy/policy-messages.ts";
import { newRequestId } from "../data/request-id.ts";
import { filterFaultOf } from "../filter/filter-fault.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Failure } from "../ui/failure.tsx";
import { Link, LinkButton } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { firmwareTitle } from "../words/firmware-words.ts";
import { ringReach } from "../words/rollout-words.ts";
import { FrontPolicyInputs, OtherPolicyInputs } from "./policy-inputs.tsx";
import { RingsEditor } from "./rings-editor.tsx";
import { newRolloutForm, type RolloutForm, ringsFault, rolloutRequest } from "./rollout-form.ts";
import { RolloutPreview, useRolloutPreview } from "./rollout-preview.tsx";
import { TargetingFields } from "./targeting-fields.tsx";
import { WarningList } from "./warning-list.tsx";

const route = getRouteApi("/rollouts/new");

/** Plans a rollout: what, to whom, in which rings, with which brakes; shows what it would reach before anything starts. */
export function RolloutNewPage() {
  const { data, error, refetch } = useQuery(RolloutService.method.getRolloutDefaults, {});
  return (
    <Page
      title="New rollout"
      trail={[
        <Link key="list" to="/rollouts">
          Rollouts
        </Link>,
      ]}
    >
      {error !== null && <Failure error={error} doing="ask for the defaults" retry={refetch} />}
      {data === undefined && error === null && <Skeleton h={480} />}
      {data !== undefined && <Planner defaults={data} />}
    </Page>
  );
}

function Planner({ defaults }: { readonly defaults: GetRolloutDefaultsResponse }) {
  const search = route.useSearch();
  const navigate = useNavigate();
  const transport = useTransport();
  const queries = useQueryClient();
  const [requestId] = useState(newRequestId);
  // The rollout gets the very rings that were previewed.
  const [salt] = useState(newRequestId);
  const [asking, setAsking] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const list = useQuery(FirmwareService.method.listFirmware, {
    states: [FirmwareState.RELEASED],
    pageSize: 1_000,
  });
  const form = useForm<RolloutForm>({
    mode: "controlled",
    initialValues: newRolloutForm(search.firmware ?? "", defaults),
    validate: { firmwareId: (value) => (value === "" ? "Choose what to bring" : null) },
  });
  const { values } = form;
  const standard = fromPolicyMessage(defaults.policy);
  const startAt = String(values.policy.startAt);
  const fault = ringsFault(values.rings);
  const firmware = list.data?.firmware.find(({ id }) => id === values.firmwareId);

  const preview = useRolloutPreview(values, salt, defaults, values.firmwareId !== "" && fault === undefined);
  const filterFault = filterFaultOf(preview.error);

  const create = async () => {
    const request = { ...rolloutRequest(values, defaults), requestId, salt };
    const { rollout } = await callUnaryMethod(transport, RolloutService.method.createRollout, request);
    if (rollout === undefined) throw new Error("the service answered without a rollout");
    return rollout;
  };
  const show = async (rolloutId: string) => {
    await queries.invalidateQueries();
    await navigate({ to: "/rollouts/$rolloutId", params: { rolloutId } });
  };
  const keepDraft = async () => {
    try {
      await show((await create()).id);
    } catch (error) {
      setFailure(error);
    }
  };
  const start = async () => {
    const { id } = await create();
    await callUnaryMethod(transport, RolloutService.method.startRollout, { id });
    await show(id);
  };

  return (
    <>
      <form
        onSubmit={form.onSubmit(() => {
          setFailure(undefined);
          if (fault === undefined && filterFault === undefined) setAsking(true);
        })}
      >
        <Grid gap="md" align="flex-start">
          <Grid.Col span={{ base: 12, lg: 8 }}>
            <Stack gap="md">
              <Section title="What">
                {list.error !== null && (
                  <Failure error={list.error} doing="list the firmware" retry={list.refetch} />
                )}
                <SimpleGrid cols={{ base: 1, sm: 2 }}>
                  <Select
                    label="Firmware"
                    description="Only what is released can be rolled out."
                    searchable
                    withAsterisk
                    placeholder="Choose the version"
                    nothingFoundMessage="Nothing is released yet"
                    data={(list.data?.firmware ?? [])
                      .filter(({ recall }) => recall === undefined)
                      .map((each) => ({ value: each.id, label: firmwareTitle(each) }))}
                    {...form.getInputProps("firmwareId")}
                    onChange={(id) => form.setFieldValue("firmwareId", id ?? "")}
                  />
                  <TextInput
                    label="Name"
                    description="For people; by default product and version."
                    maxLength={128}
                    {...form.getInputProps("name")}
                  />
                </SimpleGrid>
              </Section>
              <Section
                title="To whom"
                description="Every device that the firmware fits, unless you narrow it. Press Enter after each name."
              >
                <TargetingFields form={form} firmware={firmware} fault={filterFault} />
              </Section>
              <Section
                title="In which rings"
                description="A ring's share counts the rings before it. Its gate must hold before the next one opens."
              >
                <RingsEditor form={form} defaults={fromGateMessage(defaults.gate)} fault={fault} />
              </Section>
              <Section
                title="With which brakes"
                description="What stops it by itself. What is dimmed is the service's default; it holds where you write nothing."
              >
                <FrontPolicyInputs form={form} defaults={standard} firmware={firmware} />
              </Section>
              <Section title="Advanced" description="Most rollouts leave these as they are.">
                <OtherPolicyInputs form={form} defaults={standard} firmware={firmware} />
              </Section>
            </Stack>
          </Grid.Col>
          <Grid.Col span={{ base: 12, lg: 4 }}>
            <Stack gap="md">
              {values.firmwareId !== "" && fault === undefined && <RolloutPreview preview={preview} />}
              {failure !== undefined && <Failure error={failure} doing="create the rollout" />}
              <Group gap="xs">
                <Button type="submit" disabled={fault !== undefined || filterFault !== undefined}>
                  Start…
                </Button>
                <Button
                  variant="default"
                  disabled={fault !== undefined || filterFault !== undefined || values.firmwareId === ""}
                  onClick={() => void keepDraft()}
                >
                  Keep as a draft
                </Button>
                <LinkButton to="/rollouts" variant="subtle">
                  Cancel
                </LinkButton>
              </Group>
            </Stack>
          </Grid.Col>
        </Grid>
      </form>
      <Confirm
        opened={asking}
        title={`Start the rollout of ${firmware === undefined ? "this firmware" : firmwareTitle(firmware)}?`}
        consequences={[
          ...(values.rings[0]?.gate.requireApproval === true
            ? ["Nothing opens until an operator other than you has approved it."]
            : []),
          ...(startAt === "" ? [] : [`Nothing opens before ${new Date(startAt).toLocaleString()}.`]),
          `The first ring, ${values.rings[0]?.name ?? ""}, opens: up to ${firstReach(values)} are offered the update when they ask next.`,
          "Later rings open only when the gate before them holds.",
          "You can pause it or roll it back at any time.",
        ]}
        confirm="Start it"
        doing="start the rollout"
        act={start}
        close={() => setAsking(false)}
      >
        <WarningList warnings={preview.data?.warnings ?? []} />
      </Confirm>
    </>
  );
}

function firstReach({ rings: [first] }: RolloutForm): string {
  return ringReach({ devices: Number(first?.devices ?? 0), percent: Number(first?.percent ?? 100) });
}
