import { useMutation } from "@connectrpc/connect-query";
import { Button, Group, NumberInput, Stack, Switch, TagsInput, Textarea, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { EnrolmentKey } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { newRequestId } from "../data/request-id.ts";
import { usePages } from "../data/use-pages.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/format.ts";
import { Nothing } from "../ui/nothing.tsx";
import { SecretMaker } from "../ui/secret-maker.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { CredentialStatus } from "./credential-status.tsx";
import { type Expiry, ExpirySelect, expiryTime } from "./expiry-select.tsx";
import { RevokeButton } from "./revoke-button.tsx";

/** The keys with which devices get in. */
export function EnrolmentKeysPanel() {
  const pages = usePages(AccessService.method.listEnrolmentKeys, {}, { rowsOf: (answer) => answer.keys });
  return (
    <Section
      title="Enrolment keys"
      description="A device enrols once with such a key and then has a credential of its own."
      flush
      actions={
        <SecretMaker
          label="New key"
          secretTitle="The new enrolment key"
          hint="Put it on the devices of this batch."
          form={(made) => <KeyForm created={made} />}
        />
      }
    >
      <DataTable
        name="enrolment keys"
        columns={columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={<Nothing title="No enrolment key">Make one for each batch of devices.</Nothing>}
      />
    </Section>
  );
}

function KeyForm({ created }: { readonly created: (secret: string) => void }) {
  const [name, setName] = useState("");
  const [maxUses, setMaxUses] = useState<number | string>(0);
  const [deviceTypes, setDeviceTypes] = useState<string[]>([]);
  const [patterns, setPatterns] = useState<string[]>([]);
  const [serialNumbers, setSerialNumbers] = useState("");
  const [requireApproval, setRequireApproval] = useState(false);
  const [expiry, setExpiry] = useState<Expiry>("30");
  const [requestId] = useState(newRequestId);
  const queries = useQueryClient();
  const create = useMutation(AccessService.method.createEnrolmentKey);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const expireTime = expiryTime(expiry);
    const answer = await create.mutateAsync({
      requestId,
      name: name.trim(),
      maxUses: BigInt(Math.round(Number(maxUses))),
      deviceTypes,
      serialNumberPatterns: patterns,
      serialNumbers: linesOf(serialNumbers),
      requireApproval,
      ...(expireTime === undefined ? {} : { expireTime }),
    });
    await queries.invalidateQueries();
    created(answer.secret);
  };
  return (
    <form onSubmit={(event) => void submit(event).catch(() => undefined)}>
      <Stack>
        <TextInput
          label="What it is for"
          placeholder="line 3, July"
          maxLength={64}
          required
          data-autofocus
          value={name}
          onChange={({ currentTarget }) => setName(currentTarget.value)}
        />
        <NumberInput
          label="Devices at most"
          description="0: no limit"
          min={0}
          value={maxUses}
          onChange={setMaxUses}
        />
        <TagsInput
          label="Device types"
          splitChars={[]}
          description="Only these; none means all. Press Enter after each."
          acceptValueOnBlur
          value={deviceTypes}
          onChange={setDeviceTypes}
        />
        <TagsInput
          label="Serial numbers like"
          splitChars={[]}
          placeholder="TH-2026-*"
          description="Only these; * stands for anything. Press Enter after each."
          acceptValueOnBlur
          maxTags={100}
          value={patterns}
          onChange={setPatterns}
        />
        <Textarea
          label="Serial numbers"
          description="Only these, one a line, at most 10,000, beside those above. Without either all may enrol."
          autosize
          minRows={2}
          maxRows={8}
          value={serialNumbers}
          onChange={({ currentTarget }) => setSerialNumbers(currentTarget.value)}
        />
        <Switch
          label="Devices must be approved"
          description="Whoever enrols with it is in quarantine until then: heard, and offered nothing."
          checked={requireApproval}
          onChange={({ currentTarget }) => setRequireApproval(currentTarget.checked)}
        />
        <ExpirySelect value={expiry} onChange={setExpiry} />
        {create.error !== null && <Failure error={create.error} doing="make the key" />}
        <Group justify="flex-end">
          <Button type="submit" loading={create.isPending} disabled={name.trim() === ""}>
            Make the key
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

function Revoke({ enrolmentKey }: { readonly enrolmentKey: EnrolmentKey }) {
  const revoke = useMutation(AccessService.method.revokeEnrolmentKey);
  if (enrolmentKey.revokeTime !== undefined) return null;
  return (
    <RevokeButton
      name={enrolmentKey.name}
      what="enrolment key"
      consequences={["No device can enrol with it any more. Devices that did stay."]}
      revoke={(reason) => revoke.mutateAsync({ id: enrolmentKey.id, reason })}
    />
  );
}

function serialNumbersOf({ serialNumberPatterns, serialNumberCount }: EnrolmentKey): string {
  const named = serialNumberCount === 0 ? [] : [`${count(serialNumberCount)} named`];
  return [...serialNumberPatterns, ...named].join(", ") || "all";
}

const columns: readonly Column<EnrolmentKey>[] = [
  { id: "name", header: "Name", cell: ({ name }) => <b>{name}</b> },
  {
    id: "status",
    header: "Status",
    cell: ({ expireTime, revokeTime }) => (
      <CredentialStatus expireTime={expireTime} revokeTime={revokeTime} />
    ),
  },
  {
    id: "uses",
    header: "Enrolled",
    cell: ({ useCount, maxUses }) =>
      maxUses === 0n ? count(useCount) : `${count(useCount)} of ${count(maxUses)}`,
    numeric: true,
  },
  {
    id: "types",
    header: "Device types",
    cell: ({ deviceTypes }) => deviceTypes.join(", ") || "all",
    wide: true,
  },
  { id: "serials", header: "Serial numbers", cell: serialNumbersOf, wide: true },
  {
    id: "approval",
    header: "Approval",
    cell: ({ requireApproval }) => (requireApproval ? "required" : "not asked for"),
    wide: true,
  },
  {
    id: "expires",
    header: "Expires",
    cell: ({ expireTime }) => <TimeAgo at={expireTime} none="never" />,
    wide: true,
  },
  { id: "created", header: "Made", cell: ({ createTime }) => <TimeAgo at={createTime} />, wide: true },
  { id: "revoke", header: <span aria-hidden />, cell: (key) => <Revoke enrolmentKey={key} />, numeric: true },
];
