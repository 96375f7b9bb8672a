import { useMutation } from "@connectrpc/connect-query";
import { Menu } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type Device, Standing } from "../../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { deviceTitle } from "../words/device-words.ts";

/** How an operator changes how far a device is let in. */
export type StandingVerb = "block" | "unblock" | "quarantine" | "approve";

/** The verbs that change something, as items of a menu. */
export function StandingItems({
  device: { standing, cloneSuspectedTime },
  choose,
}: {
  readonly device: Device;
  readonly choose: (verb: StandingVerb) => void;
}) {
  const isQuarantined = standing === Standing.QUARANTINED;
  const verbs: readonly StandingVerb[] =
    standing === Standing.BLOCKED
      ? ["unblock"]
      : [
          ...(isQuarantined || cloneSuspectedTime !== undefined ? (["approve"] as const) : []),
          ...(isQuarantined ? [] : (["quarantine"] as const)),
          "block",
        ];
  return verbs.map((verb) => (
    <Menu.Item key={verb} onClick={() => choose(verb)}>
      {words[verb].item}
    </Menu.Item>
  ));
}

/** Asks before such a change. */
export function StandingConfirm({
  device,
  verb,
  close,
}: {
  readonly device: Device;
  readonly verb: StandingVerb | undefined;
  readonly close: () => void;
}) {
  const queries = useQueryClient();
  const acts = {
    block: useMutation(DeviceService.method.blockDevice),
    unblock: useMutation(DeviceService.method.unblockDevice),
    quarantine: useMutation(DeviceService.method.quarantineDevice),
    approve: useMutation(DeviceService.method.approveDevice),
  };
  if (verb === undefined) return null;
  const { confirm, title, consequences } = words[verb];
  return (
    <Confirm
      opened
      title={title(deviceTitle(device))}
      consequences={consequences}
      confirm={confirm}
      doing={`${verb} it`}
      withReason
      act={async (reason) => {
        await acts[verb].mutateAsync({ id: device.id, reason });
        await queries.invalidateQueries();
      }}
      close={close}
    />
  );
}

interface Words {
  readonly item: string;
  readonly title: (device: string) => string;
  readonly consequences: readonly string[];
  readonly confirm: string;
}

const words: Readonly<Record<StandingVerb, Words>> = {
  block: {
    item: "Block it…",
    title: (device) => `Block ${device}?`,
    consequences: [
      "Its streams end, its credential is refused, and its serial number may not enrol.",
      "Its open update is cancelled, and no rollout waits for it.",
    ],
    confirm: "Block it",
  },
  unblock: {
    item: "Unblock it…",
    title: (device) => `Unblock ${device}?`,
    consequences: ["It is let in again with the credential that it has."],
    confirm: "Unblock it",
  },
  quarantine: {
    item: "Put it in quarantine…",
    title: (device) => `Put ${device} in quarantine?`,
    consequences: [
      "It is heard, and offered no update; no rollout waits for it.",
      "An update that it is taking goes on.",
    ],
    confirm: "Put it in quarantine",
  },
  approve: {
    item: "Approve it…",
    title: (device) => `Approve ${device}?`,
    consequences: [
      "It is offered updates as any other device.",
      "If a clone is suspected, it is so no more, until two boots are heard in turns again.",
    ],
    confirm: "Approve it",
  },
};
