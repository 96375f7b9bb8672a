import { Text } from "@mantine/core";
import type { ReactNode } from "react";
import { type Device, HeartbeatFaultKind, Standing, UpdatePin } from "../../../../gen/ota/v1/device_pb.js";
import { Link } from "../../ui/link.tsx";
import { Status } from "../../ui/status.tsx";
import { TimeAgo } from "../../ui/time.tsx";
import { deviceTitle, presences } from "../../words/device-words.ts";
import { clockText } from "../../words/heartbeat-words.ts";

/** A column of the table of devices. */
export interface DeviceColumn {
  readonly id: string;
  readonly header: string;
  readonly cell: (device: Device) => ReactNode;
  /** What of the contract it is ordered by; undefined if it cannot be. */
  readonly orderBy?: "create_time" | "serial_number" | "last_seen_time" | "battery_percent";
  /** Its share of the width. */
  readonly width: string;
  readonly numeric?: boolean;
  /** Left out on phones. */
  readonly wide?: boolean;
}

/** The columns of the table of devices. */
export const deviceColumns: readonly DeviceColumn[] = [
  {
    id: "device",
    header: "Device",
    orderBy: "serial_number",
    width: "24%",
    cell: (device) => (
      <>
        <Link to="/devices/$deviceId" params={{ deviceId: device.id }} fw={500}>
          {deviceTitle(device)}
        </Link>
        {device.displayName !== "" && (
          <Text span size="xs" c="dimmed" ml={8}>
            {device.serialNumber}
          </Text>
        )}
      </>
    ),
  },
  {
    id: "presence",
    header: "Presence",
    width: "14%",
    cell: (device) =>
      device.retireTime === undefined ? (
        <>
          <Status {...presences[device.presence]} />
          {clockText(device) !== undefined && <Mark text="clock wrong" />}
          {device.heartbeatFaults.some(({ kind }) => kind === HeartbeatFaultKind.REFUSED) && (
            <Mark text="heartbeats refused" />
          )}
        </>
      ) : (
        <Status tone="idle" text="Retired" />
      ),
  },
  {
    id: "version",
    header: "Version",
    width: "12%",
    wide: true,
    cell: ({ firmwareVersion, openUpdateId, updatePin, standing, cloneSuspectedTime }) => (
      <>
        {firmwareVersion || "—"}
        {openUpdateId !== "" && <Mark text="updating" />}
        {updatePin === UpdatePin.CANARY && <Mark text="canary" />}
        {updatePin === UpdatePin.EXCLUDED && <Mark text="excluded" />}
        {standing === Standing.QUARANTINED && <Mark text="in quarantine" />}
        {standing === Standing.BLOCKED && <Mark text="blocked" />}
        {cloneSuspectedTime !== undefined && <Mark text="clone?" />}
      </>
    ),
  },
  {
    id: "type",
    header: "Type",
    width: "16%",
    wide: true,
    cell: ({ deviceType, hardwareModel }) => `${deviceType} · ${hardwareModel}`,
  },
  {
    id: "groups",
    header: "Groups and tags",
    width: "16%",
    wide: true,
    cell: ({ groups, tags }) => [...groups, ...tags.map((tag) => `#${tag}`)].join(", ") || "—",
  },
  {
    id: "battery",
    header: "Battery",
    orderBy: "battery_percent",
    width: "8%",
    wide: true,
    numeric: true,
    cell: ({ lastHeartbeat }) =>
      lastHeartbeat?.batteryPercent === undefined ? "—" : `${Math.round(lastHeartbeat.batteryPercent)} %`,
  },
  {
    id: "seen",
    header: "Last heard",
    orderBy: "last_seen_time",
    width: "11%",
    numeric: true,
    cell: ({ lastSeenTime }) => <TimeAgo at={lastSeenTime} none="never" />,
  },
  {
    id: "enrolled",
    header: "Enrolled",
    orderBy: "create_time",
    width: "11%",
    numeric: true,
    wide: true,
    cell: ({ createTime }) => <TimeAgo at={createTime} />,
  },
];

function Mark({ text }: { readonly text: string }) {
  return (
    <Text span size="xs" c="dimmed" ml={6}>
      {text}
    </Text>
  );
}
