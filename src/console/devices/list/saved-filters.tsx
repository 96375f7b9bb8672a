import { useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Button, Group, Menu, Modal, Stack, Text, TextInput } from "@mantine/core";
import { IconBookmark, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { DeviceService, type SavedFilter } from "../../../../gen/ota/v1/device_service_pb.js";
import { useReload } from "../../data/use-reload.ts";
import { useSession } from "../../session/session.tsx";
import { Confirm } from "../../ui/confirm.tsx";
import { Failure } from "../../ui/failure.tsx";

interface SavedFiltersProps {
  /** The filter in force. */
  readonly filter: string;
  readonly onChoose: (filter: string) => void;
}

/** The filters that operators keep under a name. */
export function SavedFilters({ filter, onChoose }: SavedFiltersProps) {
  const { can } = useSession();
  const mayChange = can(DeviceService.method.createSavedFilter);
  const [isSaving, setSaving] = useState(false);
  const [forgetting, setForgetting] = useState<SavedFilter | undefined>();
  const { data, error } = useQuery(DeviceService.method.listSavedFilters, {});
  const forget = useMutation(DeviceService.method.deleteSavedFilter);
  const reload = useReload(DeviceService.method.listSavedFilters);
  const saved = data?.savedFilters ?? [];
  const inForce = saved.find((each) => each.filter === filter);
  return (
    <>
      <Menu position="bottom-end" width={320}>
        <Menu.Target>
          <Button variant="default" size="sm" leftSection={<IconBookmark size={16} aria-hidden />}>
            {inForce?.name ?? "Saved filters"}
          </Button>
        </Menu.Target>
        <Menu.Dropdown mah={420} style={{ overflowY: "auto" }}>
          {error !== null && <Menu.Item disabled>They could not be read.</Menu.Item>}
          {error === null && saved.length === 0 && (
            <Text size="sm" c="dimmed" px="sm" py={6}>
              None yet. Write a filter, then save it here for everybody.
            </Text>
          )}
          {saved.map((each) => (
            <Group key={each.id} gap={0} wrap="nowrap">
              <Menu.Item onClick={() => onChoose(each.filter)} style={{ minWidth: 0 }}>
                <Text size="sm">{each.name}</Text>
                <Text size="xs" c="dimmed" ff="monospace" truncate>
                  {each.filter}
                </Text>
              </Menu.Item>
              {mayChange && (
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  aria-label={`Forget ${each.name}`}
                  onClick={() => setForgetting(each)}
                >
                  <IconTrash size={16} aria-hidden />
                </ActionIcon>
              )}
            </Group>
          ))}
          {mayChange && (
            <>
              <Menu.Divider />
              <Menu.Item disabled={filter === "" || inForce !== undefined} onClick={() => setSaving(true)}>
                Save this filter…
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      <Modal opened={isSaving} onClose={() => setSaving(false)} title="Save this filter" centered>
        {isSaving && <SaveForm filter={filter} done={() => setSaving(false)} />}
      </Modal>
      <Confirm
        opened={forgetting !== undefined}
        title={`Forget the filter ${forgetting?.name ?? ""}?`}
        consequences={["It goes for all operators. The devices stay as they are."]}
        confirm="Forget it"
        doing="forget the filter"
        danger
        act={async () => {
          await forget.mutateAsync({ id: forgetting?.id ?? "" });
          await reload();
        }}
        close={() => setForgetting(undefined)}
      />
    </>
  );
}

function SaveForm({ filter, done }: { readonly filter: string; readonly done: () => void }) {
  const [name, setName] = useState("");
  const save = useMutation(DeviceService.method.createSavedFilter);
  const reload = useReload(DeviceService.method.listSavedFilters);
  const submit = async () => {
    await save.mutateAsync({ name: name.trim(), filter });
    await reload();
    done();
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void submit().catch(() => undefined);
      }}
    >
      <Stack>
        <Text size="sm" ff="monospace" style={{ overflowWrap: "anywhere" }}>
          {filter}
        </Text>
        <TextInput
          label="Name"
          description="All operators see it."
          required
          maxLength={64}
          data-autofocus
          value={name}
          onChange={({ currentTarget }) => setName(currentTarget.value)}
        />
        {save.error !== null && <Failure error={save.error} doing="save the filter" />}
        <Button type="submit" ml="auto" loading={save.isPending} disabled={name.trim() === ""}>
          Save
        </Button>
      </Stack>
    </form>
  );
}
