import { useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Button, Group, Skeleton, Stack, Text, TextInput } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { useReload } from "../data/use-reload.ts";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { Section } from "../ui/section.tsx";

const { method } = DeviceService;

/** The names under which devices report hardware models beside their own, to read and to change. */
export function ModelAliasesPanel() {
  const mayChange = useSession().can(DeviceService.method.createModelAlias);
  const { data, error, refetch } = useQuery(method.listModelAliases, {});
  const remove = useMutation(method.deleteModelAlias);
  const reload = useReload(method.listModelAliases);
  return (
    <Section
      title="Model aliases"
      description="Names that stand for a hardware model in firmware, targeting and filters."
    >
      <Stack gap="sm">
        {error !== null && <Failure error={error} doing="list the aliases" retry={refetch} />}
        {remove.error !== null && <Failure error={remove.error} doing="take the alias away" />}
        {data === undefined && error === null && <Skeleton h={40} />}
        {data?.modelAliases.length === 0 && (
          <Text size="sm" c="dimmed">
            None: each model has one name.
          </Text>
        )}
        {data?.modelAliases.map(({ alias, hardwareModel }) => (
          <Group key={alias} gap="xs">
            <Text size="sm">
              {alias} is {hardwareModel}
            </Text>
            {mayChange && (
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={`Take the alias ${alias} away`}
                onClick={() => void remove.mutateAsync({ alias }).then(reload, () => undefined)}
              >
                <IconTrash size={16} aria-hidden />
              </ActionIcon>
            )}
          </Group>
        ))}
        {mayChange && <AliasForm />}
      </Stack>
    </Section>
  );
}

function AliasForm() {
  const [alias, setAlias] = useState("");
  const [hardwareModel, setModel] = useState("");
  const create = useMutation(method.createModelAlias);
  const reload = useReload(method.listModelAliases);
  const submit = async () => {
    await create.mutateAsync({ alias: alias.trim(), hardwareModel: hardwareModel.trim() });
    await reload();
    setAlias("");
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void submit().catch(() => undefined);
      }}
    >
      <Group align="flex-end" gap="sm">
        <TextInput
          label="Devices report"
          maxLength={128}
          value={alias}
          onChange={({ currentTarget }) => setAlias(currentTarget.value)}
        />
        <TextInput
          label="Which is the model"
          maxLength={128}
          value={hardwareModel}
          onChange={({ currentTarget }) => setModel(currentTarget.value)}
        />
        <Button
          type="submit"
          loading={create.isPending}
          disabled={alias.trim() === "" || hardwareModel.trim() === ""}
        >
          Add
        </Button>
      </Group>
      {create.error !== null && <Failure error={create.error} doing="add the alias" />}
    </form>
  );
}
