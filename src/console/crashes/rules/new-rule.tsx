import { useMutation } from "@connectrpc/connect-query";
import { Button, Grid, Group, SimpleGrid, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import type { ErrorGroup } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import type { ErrorReport } from "../../../../gen/ota/v1/heartbeat_pb.js";
import { Failure } from "../../ui/failure.tsx";
import { Section } from "../../ui/section.tsx";
import { useReloadErrors } from "../use-reload-errors.ts";
import { conditionNames, conditionWords } from "./conditions.ts";
import { RuleTrial } from "./rule-trial.tsx";

interface NewRuleProps {
  /** The group that the rule is written for. */
  readonly group?: ErrorGroup | undefined;
  /** The example on which it is tried. */
  readonly report?: ErrorReport | undefined;
}

/** Writes a rule, and tries it on an example before it is one. */
export function NewRule({ group, report }: NewRuleProps) {
  const form = useForm({
    mode: "controlled",
    initialValues: {
      title: group?.title ?? "",
      fingerprint: "",
      code: group?.code ?? "",
      fault: "",
      frame: "",
      message: "",
      example: { code: report?.code ?? "", message: report?.message ?? "", stack: report?.stack ?? "" },
    },
  });
  const reload = useReloadErrors();
  const create = useMutation(ErrorService.method.createGroupingRule);
  const { example, title, ...rule } = form.values;
  const isReady = title.trim() !== "" && conditionNames.some((name) => rule[name] !== "");
  const submit = async () => {
    await create.mutateAsync({ rule: { ...rule, title: title.trim() } });
    await reload();
    form.reset();
  };
  return (
    <Section
      title="New rule"
      description="All conditions must hold; an empty one always does. * stands for any characters, and capitals do not matter."
    >
      <form onSubmit={form.onSubmit(() => void submit().catch(() => undefined))}>
        <Grid gap="lg">
          <Grid.Col span={{ base: 12, md: 6 }}>
            <Stack gap="sm">
              <TextInput
                label="Title of its group"
                withAsterisk
                maxLength={200}
                {...form.getInputProps("title")}
              />
              <SimpleGrid cols={{ base: 1, xs: 2 }} style={{ alignItems: "end" }}>
                {conditionNames.map((name) => (
                  <TextInput
                    key={name}
                    {...conditionWords[name]}
                    maxLength={200}
                    {...form.getInputProps(name)}
                  />
                ))}
              </SimpleGrid>
              <TextInput
                label="Shared group"
                description="Rules with the same text here make one group. Empty: a group of its own."
                maxLength={128}
                {...form.getInputProps("fingerprint")}
              />
              {create.error !== null && <Failure error={create.error} doing="add the rule" />}
              <Group gap="sm">
                <Button type="submit" loading={create.isPending} disabled={!isReady}>
                  Add the rule
                </Button>
                <Text size="xs" c="dimmed">
                  It is the last to be tried.
                </Text>
              </Group>
            </Stack>
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 6 }}>
            <Stack gap="sm">
              <Text size="sm" fw={600}>
                {report === undefined ? "Try it on a report" : "Tried on the newest of its group"}
              </Text>
              {group !== undefined && report === undefined && (
                <Text size="xs" c="dimmed">
                  The newest occurrence of that group is older than what is kept.
                </Text>
              )}
              <TextInput label="Code of the report" maxLength={64} {...form.getInputProps("example.code")} />
              <Textarea
                label="Message of the report"
                maxLength={2_000}
                autosize
                minRows={1}
                maxRows={3}
                {...form.getInputProps("example.message")}
              />
              <Textarea
                label="Stack of the report"
                maxLength={16_000}
                autosize
                minRows={3}
                maxRows={8}
                styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
                {...form.getInputProps("example.stack")}
              />
              <RuleTrial
                conditions={rule}
                report={{
                  ...example,
                  fingerprint: report?.fingerprint ?? "",
                  buildId: report?.context["build_id"] ?? "",
                }}
              />
            </Stack>
          </Grid.Col>
        </Grid>
      </form>
    </Section>
  );
}
