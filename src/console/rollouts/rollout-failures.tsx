import { useQuery } from "@connectrpc/connect-query";
import { Group, Stack, Text } from "@mantine/core";
import type { CountByName } from "../../../gen/ota/v1/device_service_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { DeviceUpdateState, type Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { count, counted } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { rolloutTotals } from "../words/rollout-words.ts";
import { useChangeKey } from "./use-change-key.ts";

/** Why devices failed, most first, with the way to the devices behind each reason. */
export function RolloutFailures({ rollout }: { readonly rollout: Rollout }) {
  const { can } = useSession();
  const { failed } = rolloutTotals(rollout);
  const enabled = { enabled: failed > 0 };
  const { data, error, refetch } = useQuery(
    RolloutService.method.listFailureReasons,
    { id: rollout.id },
    {
      ...enabled,
      // The counters and the reasons are two readings: until they agree, one of them is older.
      refetchInterval: ({ state }) => (total(state.data?.failureReasons) < failed ? catchUpMs : false),
    },
  );
  const examples = useQuery(
    RolloutService.method.listDeviceUpdates,
    { rolloutId: rollout.id, states: failedStates, pageSize: 200 },
    enabled,
  );
  useChangeKey(String(failed), refetch);
  const messageOf = (reason: string) =>
    examples.data?.deviceUpdates.find(({ failureReason }) => failureReason === reason)?.failureMessage;
  return (
    <Section
      title="Failures"
      description={failed === 0 ? undefined : `${counted(failed, "device")} failed, by reason`}
      actions={
        failed > 0 &&
        can(ErrorService.method.listErrorGroups) && (
          <Text size="xs" component="div">
            <Link to="/crashes" search={{ version: rollout.version, state: "all" }}>
              What crashed on {rollout.version}
            </Link>
          </Text>
        )
      }
    >
      {failed === 0 && <Text size="sm">No device has failed.</Text>}
      {error !== null && <Failure error={error} doing="list the failures" retry={refetch} />}
      <Stack gap="xs">
        {data?.failureReasons.map(({ name: reason, count: devices }) => (
          <Group key={reason} gap="md" wrap="nowrap" align="flex-start">
            <Text fw={600} w={36} ta="right" className="numbers" style={{ flex: "none" }}>
              {count(devices)}
            </Text>
            <div style={{ minWidth: 0 }}>
              <Text size="sm" component="div">
                <Link
                  to="/rollouts/$rolloutId"
                  params={{ rolloutId: rollout.id }}
                  search={{ devices: "failed", reason }}
                  hash="devices"
                >
                  {reason}
                </Link>
              </Text>
              <Text size="xs" c="dimmed" lineClamp={2}>
                {messageOf(reason)}
              </Text>
            </div>
          </Group>
        ))}
      </Stack>
    </Section>
  );
}

const failedStates = [DeviceUpdateState.FAILED, DeviceUpdateState.TIMED_OUT];

const catchUpMs = 3_000;

function total(counts: readonly CountByName[] = []): number {
  return counts.reduce((sum, each) => sum + Number(each.count), 0);
}
