import { useMutation } from "@connectrpc/connect-query";
import {
  Button,
  Code,
  FileButton,
  Group,
  Modal,
  Select,
  Stack,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type SigningKey, SigningKeyRole } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { usePages } from "../data/use-pages.ts";
import { useSession } from "../session/session.tsx";
import { CopyText } from "../ui/copy-text.tsx";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Failure } from "../ui/failure.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { CredentialStatus } from "./credential-status.tsx";
import { type Expiry, ExpirySelect, expiryTime } from "./expiry-select.tsx";
import { RevokeButton } from "./revoke-button.tsx";

/** The public keys that firmware signatures are checked with. */
export function SigningKeysPanel() {
  const { can } = useSession();
  const [adding, setAdding] = useState(false);
  const pages = usePages(AccessService.method.listSigningKeys, {}, { rowsOf: (answer) => answer.keys });
  return (
    <Section
      title="Signing keys"
      description="Public keys that firmware signatures are checked with. The private ones never come near this service."
      flush
      actions={
        can(AccessService.method.registerSigningKey) && (
          <Button size="xs" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => setAdding(true)}>
            Register a key
          </Button>
        )
      }
    >
      <DataTable
        name="signing keys"
        columns={columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={
          <Nothing title="No signing key yet">
            Make a key pair where firmware is built (<Code>device-ota firmware keygen</Code>), and register
            its public key here. Without one no firmware can be released.
          </Nothing>
        }
      />
      <Modal opened={adding} onClose={() => setAdding(false)} title="Register a public key" centered>
        {adding && <KeyForm added={() => setAdding(false)} />}
      </Modal>
    </Section>
  );
}

function KeyForm({ added }: { readonly added: () => void }) {
  const [name, setName] = useState("");
  const [pem, setPem] = useState("");
  const [role, setRole] = useState<string>(String(SigningKeyRole.RELEASE));
  const [expiry, setExpiry] = useState<Expiry>("");
  const queries = useQueryClient();
  const register = useMutation(AccessService.method.registerSigningKey);
  const isPrivate = /PRIVATE KEY/.test(pem);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const expireTime = expiryTime(expiry);
    await register.mutateAsync({
      name: name.trim(),
      publicKeyPem: pem.trim(),
      role: Number(role) as SigningKeyRole,
      ...(expireTime === undefined ? {} : { expireTime }),
    });
    await queries.invalidateQueries();
    added();
  };
  return (
    <form onSubmit={(event) => void submit(event).catch(() => undefined)}>
      <Stack>
        <TextInput
          label="Whose it is"
          maxLength={64}
          required
          data-autofocus
          value={name}
          onChange={({ currentTarget }) => setName(currentTarget.value)}
        />
        <Textarea
          label="Public key"
          description="PEM: Ed25519, ECDSA P-256, or RSA of 3,072 bits or more."
          placeholder="-----BEGIN PUBLIC KEY-----"
          required
          autosize
          minRows={4}
          maxRows={10}
          value={pem}
          error={isPrivate ? "This is a private key: keep it to yourself, and take its public half." : null}
          onChange={({ currentTarget }) => setPem(currentTarget.value)}
        />
        <FileButton
          accept=".pem,.pub"
          onChange={(file) => {
            if (file !== null && file.size <= maxPemBytes) void file.text().then(setPem);
          }}
        >
          {(props) => (
            <Button variant="default" size="compact-sm" w="fit-content" {...props}>
              Choose the file
            </Button>
          )}
        </FileButton>
        <Select
          label="Role"
          description="Products may ask for signatures of each role."
          allowDeselect={false}
          value={role}
          onChange={(value) => setRole(value ?? String(SigningKeyRole.RELEASE))}
          data={[
            { value: String(SigningKeyRole.RELEASE), label: "Release: it may be released" },
            { value: String(SigningKeyRole.SECURITY), label: "Security: somebody has looked at it" },
            { value: String(SigningKeyRole.TEST), label: "Test: counts for trials alone" },
          ]}
        />
        <ExpirySelect value={expiry} onChange={setExpiry} />
        {register.error !== null && <Failure error={register.error} doing="register the key" />}
        <Group justify="flex-end">
          <Button
            type="submit"
            loading={register.isPending}
            disabled={name.trim() === "" || pem.trim() === "" || isPrivate}
          >
            Register it
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** What the contract takes. */
const maxPemBytes = 4_096;

function Revoke({ signingKey }: { readonly signingKey: SigningKey }) {
  const { can } = useSession();
  const revoke = useMutation(AccessService.method.revokeSigningKey);
  if (signingKey.revokeTime !== undefined || !can(AccessService.method.revokeSigningKey)) return null;
  return (
    <RevokeButton
      name={signingKey.name}
      what="signing key"
      consequences={[
        "Its signatures count no more: firmware that rests on it cannot be deployed.",
        "Rollouts of such firmware are paused at once.",
        "Devices that have installed it keep it.",
      ]}
      revoke={(reason) => revoke.mutateAsync({ id: signingKey.id, reason })}
    />
  );
}

const keyRoleNames: Readonly<Record<SigningKeyRole, string>> = {
  [SigningKeyRole.UNSPECIFIED]: "",
  [SigningKeyRole.RELEASE]: "Release",
  [SigningKeyRole.SECURITY]: "Security",
  [SigningKeyRole.TEST]: "Test",
};

const columns: readonly Column<SigningKey>[] = [
  {
    id: "name",
    header: "Name",
    cell: ({ name }) => (
      <Text span inherit fw={600}>
        {name}
      </Text>
    ),
  },
  { id: "role", header: "Role", cell: ({ role }) => keyRoleNames[role] },
  { id: "algorithm", header: "Algorithm", cell: ({ signatureAlgorithm }) => signatureAlgorithm, wide: true },
  { id: "id", header: "Thumbprint", cell: ({ id }) => <CopyText text={id} shown={`${id.slice(0, 12)}…`} /> },
  {
    id: "status",
    header: "Status",
    cell: ({ expireTime, revokeTime }) => (
      <CredentialStatus expireTime={expireTime} revokeTime={revokeTime} />
    ),
  },
  { id: "expires", header: "Expires", cell: ({ expireTime }) => <TimeAgo at={expireTime} />, wide: true },
  { id: "created", header: "Registered", cell: ({ createTime }) => <TimeAgo at={createTime} />, wide: true },
  { id: "revoke", header: <span aria-hidden />, cell: (key) => <Revoke signingKey={key} />, numeric: true },
];
