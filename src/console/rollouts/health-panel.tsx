import { useQuery } from "@connectrpc/connect-query";
import { Stack, Table, Text } from "@mantine/core";
import { Fragment } from "react";
import {
  type HealthSignal,
  HealthVerdict,
  type Rollout,
  RolloutState,
} from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { count, counted } from "../ui/format.ts";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { healthVerdicts } from "../words/rollout-words.ts";

/** How updated devices fare against those of the same model that are not updated yet: the verdict with its numbers. */
export function HealthPanel({ rollout }: { readonly rollout: Rollout }) {
  const isActive = rollout.state === RolloutState.RUNNING || rollout.state === RolloutState.PAUSED;
  const { data, error, refetch } = useQuery(
    RolloutService.method.getRolloutHealth,
    { id: rollout.id },
    { refetchInterval: isActive ? refreshMs : false },
  );
  const health = data?.health;
  return (
    <Section
      title="Health"
      description="Heartbeats of updated devices against those of the same model that are not updated yet"
      actions={health && <Status {...healthVerdicts[health.verdict]} />}
    >
      {error !== null && <Failure error={error} doing="compare the devices" retry={refetch} />}
      {health !== undefined && (
        <Stack gap="sm">
          <Text size="sm">{health.message || "Nothing was compared yet."}</Text>
          {health.signals.length > 0 && <Signals signals={health.signals} />}
          <Text size="xs" c="dimmed">
            {counted(health.updatedDeviceCount, "updated device")} against {count(health.controlDeviceCount)}{" "}
            others
            {health.evaluateTime !== undefined && (
              <>
                {" "}
                · looked at <TimeAgo at={health.evaluateTime} />
              </>
            )}
            {health.alpha > 0 && ` · chance of a false alarm: ${health.alpha}`}
          </Text>
        </Stack>
      )}
    </Section>
  );
}

const refreshMs = 15_000;

function Signals({ signals }: { readonly signals: readonly HealthSignal[] }) {
  return (
    <Table aria-label="Health by signal" verticalSpacing={4} fz="xs">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Signal</Table.Th>
          <Table.Th ta="right">Updated</Table.Th>
          <Table.Th ta="right">Others</Table.Th>
          <Table.Th visibleFrom="sm">Verdict</Table.Th>
          <Table.Th ta="right" visibleFrom="sm">
            p
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {signals.map((signal) => (
          <Fragment key={signal.name}>
            <Table.Tr>
              <Table.Th scope="row" fw={400}>
                {signal.name.replaceAll("_", " ")}
                <Text span inherit c="dimmed" visibleFrom="sm">
                  {signal.unit === "" ? "" : ` (${signal.unit})`}
                </Text>
                {signal.message !== "" && (
                  <Text size="xs" c="dimmed" visibleFrom="sm">
                    {signal.message}
                  </Text>
                )}
              </Table.Th>
              <Table.Td ta="right" className="numbers">
                {value(signal.updatedValue, signal.updatedDeviceHours)}
                <Hours seen={signal.updatedDeviceHours} />
              </Table.Td>
              <Table.Td ta="right" className="numbers">
                {value(signal.controlValue, signal.controlDeviceHours)}
                <Hours seen={signal.controlDeviceHours} />
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <Status {...healthVerdicts[signal.verdict]} />
              </Table.Td>
              <Table.Td ta="right" className="numbers" visibleFrom="sm">
                {signal.verdict === HealthVerdict.NOT_ENOUGH_DATA ? "—" : signal.pValue.toPrecision(2)}
              </Table.Td>
            </Table.Tr>
            {/* On a phone the words have no room beside the numbers. */}
            <Table.Tr hiddenFrom="sm">
              <Table.Td colSpan={3} pt={0}>
                <Status {...healthVerdicts[signal.verdict]} />
                <Text size="xs" c="dimmed">
                  {signal.message}
                </Text>
              </Table.Td>
            </Table.Tr>
          </Fragment>
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** How much a value rests on. */
function Hours({ seen }: { readonly seen: number }) {
  return (
    <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
      {seen.toLocaleString("en", { maximumFractionDigits: 1 })} device h
    </Text>
  );
}

function value(measured: number, deviceHours: number): string {
  return deviceHours === 0 ? "—" : measured.toLocaleString("en", { maximumSignificantDigits: 3 });
}
