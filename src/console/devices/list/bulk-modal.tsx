import { useMutation } from "@connectrpc/connect-query";
import { Button, Group, Modal, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { UpdatePin } from "../../../../gen/ota/v1/device_pb.js";
import { type BatchUpdateDevicesResponse, DeviceService } from "../../../../gen/ota/v1/device_service_pb.js";
import { Confirm } from "../../ui/confirm.tsx";
import { Failure } from "../../ui/failure.tsx";
import { count, counted } from "../../ui/format.ts";
import { pins } from "../../words/device-words.ts";
import {
  type BulkChange,
  type BulkKind,
  bulkKinds,
  bulkNames,
  consequencesOf,
  hasNames,
  isComplete,
  requestOf,
} from "./bulk-change.ts";

/** Which devices are meant: those named, or all that a filter matches. */
export type BulkTarget =
  | { readonly kind: "ids"; readonly ids: readonly string[] }
  | { readonly kind: "filter"; readonly filter: string };

interface BulkModalProps {
  readonly target: BulkTarget | undefined;
  readonly close: () => void;
  /** Called when devices were changed. */
  readonly changed: () => Promise<void>;
}

/**
 * Changes many devices: first what to do, then how many it would change as the service counts them, then the confirmation
 * of exactly that.
 */
export function BulkModal({ target, close, changed }: BulkModalProps) {
  const [plan, setPlan] = useState<Plan | undefined>();
  const act = useMutation(DeviceService.method.batchUpdateDevices);
  const end = () => {
    setPlan(undefined);
    close();
  };
  const takesAway = plan?.change.kind === "retire" || plan?.change.kind === "block";
  return (
    <>
      <Modal
        opened={target !== undefined && plan === undefined}
        onClose={end}
        title="Change devices"
        centered
      >
        {target !== undefined && <PlanForm target={target} done={setPlan} />}
      </Modal>
      {target !== undefined && plan !== undefined && (
        <Confirm
          opened
          title={`${bulkNames[plan.change.kind]}: ${counted(plan.outcome.changedCount, "device")}?`}
          consequences={consequencesOf(plan.change, plan.outcome.matchedCount, plan.outcome.changedCount)}
          {...(takesAway ? { typed: String(plan.outcome.changedCount) } : {})}
          confirm={
            takesAway
              ? `${bulkNames[plan.change.kind]} ${count(plan.outcome.changedCount)}`
              : `Change ${count(plan.outcome.changedCount)}`
          }
          doing="change the devices"
          withReason
          act={async (reason) => {
            await act.mutateAsync({
              ...requestOf(plan.change),
              ...requestFor(target),
              expectedCount: plan.outcome.matchedCount,
              reason,
            });
            await changed();
          }}
          close={end}
        />
      )}
    </>
  );
}

interface Plan {
  readonly change: BulkChange;
  readonly outcome: BatchUpdateDevicesResponse;
}

function PlanForm({ target, done }: { readonly target: BulkTarget; readonly done: (plan: Plan) => void }) {
  const [kind, setKind] = useState<BulkKind>("add_groups");
  const [names, setNames] = useState<string[]>([]);
  const [pin, setPin] = useState<UpdatePin>(UpdatePin.CANARY);
  const [product, setProduct] = useState("");
  const foresee = useMutation(DeviceService.method.batchUpdateDevices);
  const change: BulkChange = { kind, names, pin, product };
  const submit = async () => {
    const outcome = await foresee.mutateAsync({
      ...requestOf(change),
      ...requestFor(target),
      validateOnly: true,
    });
    if (outcome.changedCount > 0n) done({ change, outcome });
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void submit().catch(() => undefined);
      }}
    >
      <Stack>
        <Text size="sm">
          {target.kind === "ids" ? (
            `${counted(target.ids.length, "chosen device")}.`
          ) : target.filter === everyDevice ? (
            "Every device in service."
          ) : (
            <>
              Every device that matches{" "}
              <Text span inherit ff="monospace">
                {target.filter}
              </Text>
            </>
          )}
        </Text>
        <Select
          label="What to do"
          allowDeselect={false}
          data-autofocus
          data={bulkKinds.map((value) => ({ value, label: bulkNames[value] }))}
          value={kind}
          onChange={(value) => {
            setKind(value ?? "add_groups");
            foresee.reset();
          }}
        />
        {kind === "pin" && (
          <Select
            label="In rollouts"
            allowDeselect={false}
            value={String(pin)}
            data={[UpdatePin.CANARY, UpdatePin.EXCLUDED, UpdatePin.UNSPECIFIED].map((value) => ({
              value: String(value),
              label: pins[value],
            }))}
            onChange={(value) => setPin(Number(value) as UpdatePin)}
          />
        )}
        {kind === "product" && (
          <TextInput
            label="Product"
            description="Empty: their versions tell."
            value={product}
            onChange={(event) => {
              setProduct(event.currentTarget.value.trim());
              foresee.reset();
            }}
          />
        )}
        {hasNames(kind) && (
          <TagsInput
            label={kind.endsWith("groups") ? "Groups" : "Tags"}
            description="Press Enter after each."
            acceptValueOnBlur
            value={names}
            onChange={(value) => {
              setNames(value);
              foresee.reset();
            }}
          />
        )}
        {foresee.error !== null && <Failure error={foresee.error} doing="count the devices" />}
        {foresee.data?.changedCount === 0n && (
          <Text size="sm" role="status">
            {foresee.data.matchedCount === 0n
              ? "There is no such device."
              : `None would change: all ${counted(foresee.data.matchedCount, "device")} have it already.`}
          </Text>
        )}
        <Group justify="flex-end">
          <Button type="submit" loading={foresee.isPending} disabled={!isComplete(change)}>
            Count and confirm…
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Matches every device: the service wants some filter, so that nobody changes a whole fleet by leaving a field out. */
export const everyDevice = "serial_number:*";

function requestFor(target: BulkTarget) {
  return target.kind === "ids" ? { deviceIds: [...target.ids] } : { filter: target.filter };
}
