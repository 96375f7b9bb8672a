import { useQuery } from "@connectrpc/connect-query";
import { Group, Skeleton, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData } from "@tanstack/react-query";
import type { CountByName } from "../../../gen/ota/v1/device_service_pb.js";
import type { RingCensus } from "../../../gen/ota/v1/rollout_pb.js";
import { type GetRolloutDefaultsResponse, RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/format.ts";
import { Section } from "../ui/section.tsx";
import { Time } from "../ui/time.tsx";
import { heldBackWords } from "./held-back-words.ts";
import { type RolloutForm, rolloutRequest } from "./rollout-form.ts";
import { WarningList } from "./warning-list.tsx";

/** Has the service count whom a planned rollout would reach, once typing pauses. Asks nothing while `enabled` is false. */
export function useRolloutPreview(
  form: RolloutForm,
  salt: string,
  defaults: GetRolloutDefaultsResponse,
  enabled: boolean,
) {
  const [settled] = useDebouncedValue(form, settleMs);
  const { firmwareId, targeting, policy, rings } = rolloutRequest(settled, defaults);
  return useQuery(
    RolloutService.method.previewRollout,
    {
      firmwareId: firmwareId ?? "",
      ...(targeting === undefined ? {} : { targeting }),
      ...(policy === undefined ? {} : { policy }),
      rings: rings ?? [],
      salt,
    },
    { placeholderData: keepPreviousData, enabled: enabled && settled.firmwareId !== "" },
  );
}

interface RolloutPreviewProps {
  readonly preview: ReturnType<typeof useRolloutPreview>;
}

/** What the rollout would reach if it were started now: counted by the service over the whole fleet, changing nothing. */
export function RolloutPreview({ preview: { data, error, refetch } }: RolloutPreviewProps) {
  return (
    <Section
      title="What it would reach"
      description={
        data?.countTime && (
          <>
            Counted at <Time at={data.countTime} />; nothing starts yet
          </>
        )
      }
    >
      {error !== null && <Failure error={error} doing="count the devices" retry={refetch} />}
      {data === undefined && error === null && <Skeleton h={160} />}
      {data !== undefined && (
        <Stack gap="md">
          <Text size="sm">
            <Text span fw={600} size="xl" className="numbers">
              {count(data.targetedCount)}
            </Text>{" "}
            {data.targetedCount === 1n ? "device is" : "devices are"} targeted; {count(data.readyCount)} would
            be offered it now, were their ring open.
            {data.unknownReadingsCount > 0n &&
              ` Of these, ${count(data.unknownReadingsCount)} never told their charge or free storage.`}
          </Text>
          <WarningList warnings={data.warnings} />
          <Counts title="By ring" counts={data.rings} />
          <Standing census={data.ringCensus} />
          {data.heldBack.length > 0 && (
            <div>
              <Text size="xs" fw={600} mb={4}>
                Held back now
              </Text>
              <Stack gap={4}>
                {data.heldBack.map((held) => (
                  <Group key={held.reason} justify="space-between" wrap="nowrap" gap="sm" align="flex-start">
                    <div>
                      <Text size="sm">{heldBackWords[held.reason]}</Text>
                      <Text size="xs" c="dimmed">
                        {held.message}
                      </Text>
                    </div>
                    <Text size="sm" className="numbers">
                      {count(held.count)}
                    </Text>
                  </Group>
                ))}
              </Stack>
            </div>
          )}
          <Counts title="By version now" counts={data.currentVersions.slice(0, shown)} />
          <Counts title="By model" counts={data.hardwareModels.slice(0, shown)} />
          {data.targetedCount === 0n && (
            <Text size="sm">
              Nothing would be reached: no device of these types and models is known, or all of them have this
              version or a newer one.
            </Text>
          )}
        </Stack>
      )}
    </Section>
  );
}

/** How those stand who wait for the update, in all rings together. */
function Standing({ census }: { readonly census: readonly RingCensus[] }) {
  const sum = (of: (each: RingCensus) => bigint) => census.reduce((total, each) => total + of(each), 0n);
  return (
    <Text size="sm">
      Of those who wait for it {count(sum(({ reachable }) => reachable))} can be reached,{" "}
      {count(sum(({ heldBack }) => heldBack))} are held back, and {count(sum(({ gone }) => gone))} are gone
      (offline, or never heard of).
    </Text>
  );
}

/** Typing should not read the whole fleet at each stroke. */
const settleMs = 600;

const shown = 8;

function Counts({ title, counts }: { readonly title: string; readonly counts: readonly CountByName[] }) {
  if (counts.length === 0) return null;
  return (
    <div>
      <Text size="xs" fw={600} mb={4}>
        {title}
      </Text>
      <Stack gap={2}>
        {counts.map(({ name, count: devices }) => (
          <Group key={name} justify="space-between" wrap="nowrap" gap="sm">
            <Text size="sm" truncate>
              {name || "not told yet"}
            </Text>
            <Text size="sm" className="numbers">
              {count(devices)}
            </Text>
          </Group>
        ))}
      </Stack>
    </div>
  );
}
