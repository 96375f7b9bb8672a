import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { useMutation } from "@connectrpc/connect-query";
import { Button, Menu, Modal, Select, Stack, TagsInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type Device, ExpectedIntervalSource, UpdatePin } from "../../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { targetNameFault } from "../../device-names.ts";
import { useSession } from "../session/session.tsx";
import { Confirm } from "../ui/confirm.tsx";
import { Failure } from "../ui/failure.tsx";
import { IntervalInput } from "../ui/interval-input.tsx";
import { MoreMenu } from "../ui/more-menu.tsx";
import { deviceTitle, pins } from "../words/device-words.ts";
import { StandingConfirm, StandingItems, type StandingVerb } from "./device-standing.tsx";

/** What an operator can do to a device. */
export function DeviceActions({ device }: { readonly device: Device }) {
  const { can } = useSession();
  const queries = useQueryClient();
  const [open, setOpen] = useState<"edit" | "retire" | "reset" | undefined>();
  const [standing, setStanding] = useState<StandingVerb | undefined>();
  const retire = useMutation(DeviceService.method.retireDevice);
  const reset = useMutation(DeviceService.method.resetDeviceCredential);
  if (!can(DeviceService.method.updateDevice)) return null;
  const close = () => setOpen(undefined);
  return (
    <>
      <Button variant="default" size="sm" onClick={() => setOpen("edit")}>
        Edit
      </Button>
      <MoreMenu>
        <Menu.Item onClick={() => setOpen("reset")}>Reset its credential…</Menu.Item>
        <Menu.Item onClick={() => setOpen("retire")}>Retire it…</Menu.Item>
        <StandingItems device={device} choose={setStanding} />
      </MoreMenu>
      <Modal opened={open === "edit"} onClose={close} title={`Edit ${deviceTitle(device)}`} centered>
        {open === "edit" && <EditForm device={device} done={close} />}
      </Modal>
      <Confirm
        opened={open === "reset"}
        title={`Reset the credential of ${deviceTitle(device)}?`}
        consequences={[
          "Its credentials are revoked and its streams end at once.",
          "It must enrol again under the same serial number, and may do so once, within the time that the settings say.",
        ]}
        typed={device.serialNumber}
        confirm="Reset it"
        doing="reset its credential"
        withReason
        act={async (reason) => {
          await reset.mutateAsync({ id: device.id, reason });
          await queries.invalidateQueries();
        }}
        close={close}
      />
      <Confirm
        opened={open === "retire"}
        title={`Retire ${deviceTitle(device)}?`}
        consequences={[
          "Its credentials are revoked, its streams end, and its open update is cancelled.",
          "It is offered nothing any more and is not counted. Its record and history stay.",
          "Its serial number may not enrol again unless it is reinstated.",
        ]}
        typed={device.serialNumber}
        confirm="Retire it"
        doing="retire it"
        withReason
        act={async (reason) => {
          await retire.mutateAsync({ id: device.id, reason });
          await queries.invalidateQueries();
        }}
        close={close}
      />
      <StandingConfirm device={device} verb={standing} close={() => setStanding(undefined)} />
    </>
  );
}

/** What an operator can do to a device that is retired. */
export function RetiredDeviceActions({ device }: { readonly device: Device }) {
  const { can } = useSession();
  const queries = useQueryClient();
  const [open, setOpen] = useState(false);
  const reinstate = useMutation(DeviceService.method.reinstateDevice);
  if (!can(DeviceService.method.reinstateDevice)) return null;
  return (
    <>
      <Button variant="default" size="sm" onClick={() => setOpen(true)}>
        Reinstate it…
      </Button>
      <Confirm
        opened={open}
        title={`Reinstate ${deviceTitle(device)}?`}
        consequences={[
          "Its serial number may enrol once more, within the time that the settings say.",
          "What enrols is a new device. This record and its history stay as they are.",
        ]}
        confirm="Reinstate it"
        doing="reinstate it"
        withReason
        act={async (reason) => {
          await reinstate.mutateAsync({ id: device.id, reason });
          await queries.invalidateQueries();
        }}
        close={() => setOpen(false)}
      />
    </>
  );
}

function EditForm({ device, done }: { readonly device: Device; readonly done: () => void }) {
  const [displayName, setDisplayName] = useState(device.displayName);
  const [groups, setGroups] = useState([...device.groups]);
  const [tags, setTags] = useState([...device.tags]);
  const [deviceType, setDeviceType] = useState(device.deviceType);
  const [hardwareModel, setHardwareModel] = useState(device.hardwareModel);
  const [product, setProduct] = useState(device.product);
  const intervalBefore = saidInterval(device);
  const [intervalMs, setInterval] = useState(intervalBefore);
  const faults = { deviceType: targetNameFault(deviceType), hardwareModel: targetNameFault(hardwareModel) };
  const [pin, setPin] = useState<UpdatePin>(device.updatePin);
  const queries = useQueryClient();
  const update = useMutation(DeviceService.method.updateDevice);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    await update.mutateAsync({
      id: device.id,
      displayName: displayName.trim(),
      groups: { names: groups },
      tags: { names: tags },
      updatePin: pin,
      ...(deviceType === device.deviceType ? {} : { deviceType }),
      ...(hardwareModel === device.hardwareModel ? {} : { hardwareModel }),
      ...(product.trim() === device.product ? {} : { product: product.trim() }),
      ...(intervalMs === intervalBefore ? {} : { expectedInterval: durationFromMs(intervalMs ?? 0) }),
    });
    await queries.invalidateQueries();
    done();
  };
  return (
    <form onSubmit={(event) => void submit(event).catch(() => undefined)}>
      <Stack>
        <TextInput
          label="Name"
          maxLength={128}
          data-autofocus
          value={displayName}
          onChange={({ currentTarget }) => setDisplayName(currentTarget.value)}
        />
        <TagsInput
          label="Groups"
          description="Press Enter after each."
          acceptValueOnBlur
          value={groups}
          onChange={setGroups}
        />
        <TagsInput
          label="Tags"
          description="Many and short-lived."
          acceptValueOnBlur
          value={tags}
          onChange={setTags}
        />
        <Select
          label="In rollouts"
          allowDeselect={false}
          value={String(pin)}
          data={[UpdatePin.UNSPECIFIED, UpdatePin.CANARY, UpdatePin.EXCLUDED].map((value) => ({
            value: String(value),
            label: pins[value],
          }))}
          onChange={(value) => setPin(Number(value) as UpdatePin)}
        />
        <TextInput
          label="Device type"
          description="What it really is. An update that is not meant for such a device is cancelled."
          error={faults.deviceType}
          value={deviceType}
          onChange={({ currentTarget }) => setDeviceType(currentTarget.value)}
        />
        <TextInput
          label="Hardware model"
          error={faults.hardwareModel}
          value={hardwareModel}
          onChange={({ currentTarget }) => setHardwareModel(currentTarget.value)}
        />
        <TextInput
          label="Product"
          description="Which product's firmware it runs; empty: its version tells."
          value={product}
          onChange={({ currentTarget }) => setProduct(currentTarget.value)}
        />
        <IntervalInput
          label="Expected every"
          description="Silent for 4 times as long it is offline. Empty: as it says itself, or as is said of its type."
          value={intervalMs}
          onChange={setInterval}
        />
        {update.error !== null && <Failure error={update.error} doing="change the device" />}
        <Button
          type="submit"
          disabled={faults.deviceType !== undefined || faults.hardwareModel !== undefined}
          loading={update.isPending}
          ml="auto"
        >
          Save
        </Button>
      </Stack>
    </form>
  );
}

/** What an operator said of this device; undefined if nobody did. */
function saidInterval({ expectedInterval, expectedIntervalSource }: Device): number | undefined {
  const isSaid = expectedIntervalSource === ExpectedIntervalSource.OPERATOR && expectedInterval !== undefined;
  return isSaid ? durationMs(expectedInterval) : undefined;
}
