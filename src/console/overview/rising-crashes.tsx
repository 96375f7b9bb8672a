import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { Group, Stack, Text } from "@mantine/core";
import { ErrorGroupState } from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { counted } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { useNow } from "../ui/use-now.ts";

/** Open errors that were not known a day ago, those on most devices first. */
export function RisingCrashes() {
  // To the hour, so that the question is not another one with each drawing.
  const hour = Math.floor(useNow(60_000).getTime() / hourMs) * hourMs;
  const { data, error, refetch } = useQuery(
    ErrorService.method.listErrorGroups,
    {
      states: [ErrorGroupState.OPEN],
      firstSeenSince: timestampFromMs(hour - 24 * hourMs),
      orderBy: "device_count desc",
      pageSize: shown,
    },
    { refetchInterval: refreshMs },
  );
  return (
    <Section
      title="Rising crashes"
      description="Open errors that were first seen in the last day"
      actions={
        <Text size="xs" component="div">
          <Link to="/crashes" search={{ new: "24h", order: "device_count desc" }}>
            All of them
          </Link>
        </Text>
      }
    >
      {error !== null && <Failure error={error} doing="list the crashes" retry={refetch} />}
      {data?.groups.length === 0 && <Text size="sm">Nothing new has gone wrong.</Text>}
      <Stack gap={6}>
        {data?.groups.map(({ id, title, deviceCount, firstSeenVersion, firstSeenTime }) => (
          <Group key={id} justify="space-between" gap="md" wrap="nowrap" align="flex-start">
            <div style={{ minWidth: 0 }}>
              <Text size="sm" truncate component="div">
                <Link to="/crashes/$groupId" params={{ groupId: id }}>
                  {title}
                </Link>
              </Text>
              <Text size="xs" c="dimmed">
                first on {firstSeenVersion || "an unknown version"}, <TimeAgo at={firstSeenTime} />
              </Text>
            </div>
            <Text size="sm" className="numbers" style={{ flex: "none" }}>
              {counted(deviceCount, "device")}
            </Text>
          </Group>
        ))}
      </Stack>
    </Section>
  );
}

const hourMs = 3_600_000;
const refreshMs = 10_000;
const shown = 5;
