import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Button, Group, Skeleton, Stack, Text, TextInput } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { targetNameFault } from "../../device-names.ts";
import { useReload } from "../data/use-reload.ts";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { counted, duration } from "../ui/format.ts";
import { IntervalInput } from "../ui/interval-input.tsx";
import { Section } from "../ui/section.tsx";

const { method } = DeviceService;

/** The device types and how often their devices are expected, to read and to change. */
export function DeviceTypesPanel() {
  const mayChange = useSession().can(DeviceService.method.updateDeviceType);
  const { data, error, refetch } = useQuery(method.listDeviceTypes, {});
  const update = useMutation(method.updateDeviceType);
  const reload = useReload(method.listDeviceTypes);
  return (
    <Section
      title="Device types"
      description="How often devices are expected: one that is silent for 4 times as long is offline. What a device says itself goes before."
    >
      <Stack gap="sm">
        {error !== null && <Failure error={error} doing="list the device types" retry={refetch} />}
        {update.error !== null && <Failure error={update.error} doing="change the device type" />}
        {data === undefined && error === null && <Skeleton h={40} />}
        {data?.deviceTypes.length === 0 && (
          <Text size="sm" c="dimmed">
            None yet: they come with their devices.
          </Text>
        )}
        {data?.deviceTypes.map(({ name, deviceCount, expectedInterval }) => (
          <Group key={name} gap="xs">
            <Text size="sm">
              {name} · {counted(deviceCount, "device")} ·{" "}
              {expectedInterval === undefined
                ? "expected as the setting says"
                : `expected every ${duration(expectedInterval)}`}
            </Text>
            {mayChange && expectedInterval !== undefined && (
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={`Take the interval of ${name} away`}
                onClick={() =>
                  void update
                    .mutateAsync({ name, expectedInterval: durationFromMs(0) })
                    .then(reload, () => undefined)
                }
              >
                <IconTrash size={16} aria-hidden />
              </ActionIcon>
            )}
          </Group>
        ))}
        {mayChange && <IntervalForm />}
      </Stack>
    </Section>
  );
}

function IntervalForm() {
  const [name, setName] = useState("");
  const [intervalMs, setInterval] = useState<number | undefined>();
  const update = useMutation(method.updateDeviceType);
  const reload = useReload(method.listDeviceTypes);
  const submit = async () => {
    if (intervalMs === undefined) return;
    await update.mutateAsync({ name: name.trim(), expectedInterval: durationFromMs(intervalMs) });
    await reload();
    setName("");
    setInterval(undefined);
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
          label="Device type"
          maxLength={128}
          value={name}
          onChange={({ currentTarget }) => setName(currentTarget.value)}
        />
        <IntervalInput label="Expected every" value={intervalMs} onChange={setInterval} />
        <Button
          type="submit"
          loading={update.isPending}
          disabled={intervalMs === undefined || targetNameFault(name.trim()) !== undefined}
        >
          Set
        </Button>
      </Group>
      {update.error !== null && <Failure error={update.error} doing="change the device type" />}
    </form>
  );
}
