import { useMutation } from "@connectrpc/connect-query";
import { Button, Group, Select, Stack, TagsInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type OperatorToken, Role } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { newRequestId } from "../data/request-id.ts";
import { usePages } from "../data/use-pages.ts";
import { roleNames } from "../session/session.tsx";
import { actorName } from "../ui/actor-name.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Failure } from "../ui/failure.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { SecretMaker } from "../ui/secret-maker.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { CredentialStatus } from "./credential-status.tsx";
import { type Expiry, ExpirySelect, expiryTime } from "./expiry-select.tsx";
import { RevokeButton } from "./revoke-button.tsx";

/** Operators' tokens: who has which role, until when. */
export function TokensPanel() {
  const pages = usePages(AccessService.method.listTokens, {}, { rowsOf: (answer) => answer.tokens });
  return (
    <Section
      title="Operators' tokens"
      description="One for each person or program, so that the audit log can tell them apart."
      flush
      actions={
        <SecretMaker
          label="New token"
          secretTitle="The new token"
          hint="Hand it to its operator by a safe way."
          form={(made) => <TokenForm created={made} />}
        />
      }
    >
      <DataTable
        name="tokens"
        columns={columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={<Nothing title="No tokens">Make one for each operator.</Nothing>}
      />
    </Section>
  );
}

function TokenForm({ created }: { readonly created: (secret: string) => void }) {
  const [name, setName] = useState("");
  const [owner, setOwner] = useState("");
  const [products, setProducts] = useState<string[]>([]);
  const [deviceFilter, setDeviceFilter] = useState("");
  const [role, setRole] = useState<string>(String(Role.VIEWER));
  const [expiry, setExpiry] = useState<Expiry>("90");
  const [requestId] = useState(newRequestId);
  const queries = useQueryClient();
  const create = useMutation(AccessService.method.createToken);
  const isAdmin = role === String(Role.ADMIN);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const expireTime = expiryTime(expiry);
    const answer = await create.mutateAsync({
      requestId,
      name: name.trim(),
      owner: owner.trim(),
      ...(isAdmin ? {} : { products, deviceFilter }),
      role: Number(role) as Role,
      ...(expireTime === undefined ? {} : { expireTime }),
    });
    await queries.invalidateQueries();
    created(answer.secret);
  };
  return (
    <form onSubmit={(event) => void submit(event).catch(() => undefined)}>
      <Stack>
        <TextInput
          label="Name"
          description="The audit log names it."
          maxLength={64}
          required
          data-autofocus
          value={name}
          onChange={({ currentTarget }) => setName(currentTarget.value)}
        />
        <TextInput
          label="Owner"
          description="Whose it is, if that is not the name. One person's tokens never approve each other."
          maxLength={128}
          value={owner}
          onChange={({ currentTarget }) => setOwner(currentTarget.value)}
        />
        <Select
          label="Role"
          allowDeselect={false}
          value={role}
          onChange={(value) => setRole(value ?? String(Role.VIEWER))}
          data={[
            { value: String(Role.VIEWER), label: "Viewer: reads" },
            { value: String(Role.OPERATOR), label: "Operator: changes firmware, rollouts and devices" },
            { value: String(Role.ADMIN), label: "Admin: also changes who may do what" },
          ]}
        />
        {!isAdmin && (
          <>
            <TagsInput
              label="Only these products"
              description="None for all. With a limit the token opens nothing beyond it."
              maxTags={8}
              value={products}
              onChange={setProducts}
            />
            <TextInput
              label="Only devices that match this filter"
              description={'Empty for all; for example groups:"berlin"'}
              maxLength={512}
              value={deviceFilter}
              onChange={({ currentTarget }) => setDeviceFilter(currentTarget.value)}
            />
          </>
        )}
        <ExpirySelect value={expiry} onChange={setExpiry} />
        {create.error !== null && <Failure error={create.error} doing="make the token" />}
        <Group justify="flex-end">
          <Button type="submit" loading={create.isPending} disabled={name.trim() === ""}>
            Make the token
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Revoke({ token }: { readonly token: OperatorToken }) {
  const revoke = useMutation(AccessService.method.revokeToken);
  if (token.revokeTime !== undefined) return null;
  return (
    <RevokeButton
      name={token.name}
      what="token"
      consequences={["Whoever uses it is signed out at once, everywhere."]}
      revoke={(reason) => revoke.mutateAsync({ id: token.id, reason })}
    />
  );
}

const columns: readonly Column<OperatorToken>[] = [
  { id: "name", header: "Name", cell: ({ name }) => <b>{name}</b> },
  { id: "owner", header: "Owner", cell: ({ owner }) => owner, wide: true },
  { id: "role", header: "Role", cell: ({ role }) => roleNames[role] },
  {
    id: "limits",
    header: "Limited to",
    cell: ({ products, deviceFilter }) =>
      [...products, ...(deviceFilter === "" ? [] : [deviceFilter])].join(", "),
    wide: true,
  },
  {
    id: "status",
    header: "Status",
    cell: (token) => <CredentialStatus expireTime={token.expireTime} revokeTime={token.revokeTime} />,
  },
  { id: "used", header: "Last used", cell: ({ lastUseTime }) => <TimeAgo at={lastUseTime} />, wide: true },
  {
    id: "expires",
    header: "Expires",
    cell: ({ expireTime }) => <TimeAgo at={expireTime} none="never" />,
    wide: true,
  },
  { id: "creator", header: "Made by", cell: ({ creator }) => actorName(creator), wide: true },
  { id: "created", header: "Made", cell: ({ createTime }) => <TimeAgo at={createTime} />, wide: true },
  { id: "revoke", header: <span aria-hidden />, cell: (token) => <Revoke token={token} />, numeric: true },
];
