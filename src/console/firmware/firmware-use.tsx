import { useQuery } from "@connectrpc/connect-query";
import { Group, Stack, Text } from "@mantine/core";
import { useState } from "react";
import {
  DeviceService,
  type GetDeviceStatusOverviewResponse,
} from "../../../gen/ota/v1/device_service_pb.js";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useSession } from "../session/session.tsx";
import { useFleetStream } from "../session/use-fleet-stream.ts";
import { Failure } from "../ui/failure.tsx";
import { count, counted, percent } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { rolloutStates, rolloutTitle } from "../words/rollout-words.ts";

/** Where a firmware runs now, and the rollouts that brought it there. */
export function FirmwareUse({ firmware }: { readonly firmware: Firmware }) {
  const { can } = useSession();
  const { getDeviceStatusOverview } = DeviceService.method;
  const read = useQuery(getDeviceStatusOverview, {}, { enabled: can(getDeviceStatusOverview) });
  const [watched, setWatched] = useState<GetDeviceStatusOverviewResponse | undefined>();
  const stream = useFleetStream(({ overview }) => setWatched(overview));
  const fleet = watched ?? read.data;
  const rollouts = useQuery(
    RolloutService.method.listRollouts,
    { firmwareId: firmware.id, pageSize: 20 },
    { refetchInterval: refreshMs },
  );
  const running = fleet?.firmwareVersions.find(({ name }) => name === firmware.version)?.count ?? 0n;
  const total = fleet?.totalCount ?? 0n;
  return (
    <Section title="Where it runs now" actions={stream !== undefined && <LiveStatus state={stream.state} />}>
      <Stack gap="sm">
        {fleet !== undefined && (
          <Text size="sm">
            <Text span fw={600} size="xl" className="numbers">
              {count(running)}
            </Text>{" "}
            of {counted(total, "device")} {Number(running) === 1 ? "runs" : "run"} version {firmware.version}
            {total > 0n && ` (${percent(Math.round((1_000 * Number(running)) / Number(total)) / 10)})`}
          </Text>
        )}
        {rollouts.error !== null && <Failure error={rollouts.error} doing="list its rollouts" />}
        {rollouts.data?.rollouts.length === 0 && (
          <Text size="sm" c="dimmed">
            No rollout has brought it yet.
          </Text>
        )}
        {rollouts.data?.rollouts.map((rollout) => (
          <Group key={rollout.id} justify="space-between" gap="sm">
            <Text size="sm" component="div">
              <Link to="/rollouts/$rolloutId" params={{ rolloutId: rollout.id }}>
                {rolloutTitle(rollout)}
              </Link>
            </Text>
            <Group gap="md">
              <Status {...rolloutStates[rollout.state]} />
              <Text size="sm" c="dimmed">
                <TimeAgo at={rollout.createTime} />
              </Text>
            </Group>
          </Group>
        ))}
      </Stack>
    </Section>
  );
}

const refreshMs = 10_000;
