import "@mantine/core/styles/Timeline.css";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { callUnaryMethod, useMutation, useQuery, useTransport } from "@connectrpc/connect-query";
import { Button, Code, FileButton, Group, Select, Stack, Text, Textarea, Timeline } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { type Firmware, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { saveFile } from "../data/save-file.ts";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { useNow } from "../ui/use-now.ts";
import { readSignature } from "./read-signature.ts";

/** Takes a detached signature that was made elsewhere: the private key never comes near this service. */
export function SignPanel({ firmware }: { readonly firmware: Firmware }) {
  const { can } = useSession();
  const isOperator = can(FirmwareService.method.signFirmware);
  const { data, error, refetch } = useQuery(AccessService.method.listSigningKeys, { pageSize: 1_000 });
  const now = useNow(60_000);
  if (!isOperator) return null;
  const keys =
    data?.keys.filter(
      ({ revokeTime, expireTime }) =>
        revokeTime === undefined && (expireTime === undefined || timestampDate(expireTime) > now),
    ) ?? [];
  const signed = new Set(firmware.signatures.map(({ keyId }) => keyId));
  const left = keys.filter(({ id }) => !signed.has(id));
  const released = firmware.state === FirmwareState.RELEASED;
  if (released && left.length === 0) return null;
  return (
    <Section title={released ? "Add another signature" : "Have it signed"}>
      {error !== null && <Failure error={error} doing="list the signing keys" retry={refetch} />}
      {data !== undefined && keys.length === 0 && (
        <Nothing title="No signing key works">
          None is registered, or each is revoked or has expired. An administrator registers the public key of
          whoever signs firmware, in the console under Access or with device-ota signing-key register.
        </Nothing>
      )}
      {left.length > 0 && (
        <SignForm firmware={firmware} keys={left.map(({ id, name }) => ({ value: id, label: name }))} />
      )}
    </Section>
  );
}

interface SignFormProps {
  readonly firmware: Firmware;
  readonly keys: { value: string; label: string }[];
}

function SignForm({ firmware, keys }: SignFormProps) {
  const transport = useTransport();
  const queries = useQueryClient();
  const [manifest, setManifest] = useState<Uint8Array<ArrayBuffer> | undefined>();
  const [keyId, setKeyId] = useState<string | null>(keys.length === 1 ? (keys[0]?.value ?? null) : null);
  const [pasted, setPasted] = useState("");
  const [file, setFile] = useState<Uint8Array<ArrayBuffer> | undefined>();
  const [failure, setFailure] = useState<unknown>();
  const sign = useMutation(FirmwareService.method.signFirmware);
  const signature = file ?? readSignature(pasted);
  const name = `${firmware.product}-${firmware.version}.manifest.json`;

  const fetchManifest = async () => {
    if (firmware.manifest.length > 0) return firmware.manifest;
    const answer = await callUnaryMethod(transport, FirmwareService.method.getFirmwareManifest, {
      id: firmware.id,
    });
    return answer.manifest;
  };
  const download = async () => {
    try {
      const bytes = new Uint8Array(await fetchManifest());
      setManifest(bytes);
      saveFile(bytes, name, "application/json");
      setFailure(undefined);
    } catch (error) {
      setFailure(error);
    }
  };
  const submit = async () => {
    if (keyId === null || signature === undefined) return;
    try {
      await sign.mutateAsync({
        id: firmware.id,
        manifest: manifest ?? (await fetchManifest()),
        keyId,
        signature,
      });
      setPasted("");
      setFile(undefined);
      setFailure(undefined);
      await queries.invalidateQueries();
    } catch (error) {
      setFailure(error);
    }
  };

  return (
    <Stack gap="md">
      <Timeline bulletSize={24} lineWidth={1} active={-1}>
        <Timeline.Item
          bullet={<b>1</b>}
          title={
            <Text size="sm" fw={600}>
              Download the manifest
            </Text>
          }
        >
          <Stack gap={6}>
            <Text size="xs" c="dimmed">
              It says what is signed: product, version, digest, size, targets. Its exact bytes are signed. If
              you signed a manifest of your own instead, hand that one in.
            </Text>
            <Group gap="xs">
              <Button size="compact-sm" variant="default" onClick={() => void download()}>
                Download {name}
              </Button>
              <FileButton accept="application/json,.json" onChange={(own) => void take(own, setManifest)}>
                {(props) => (
                  <Button size="compact-sm" variant="subtle" {...props}>
                    Use another manifest
                  </Button>
                )}
              </FileButton>
            </Group>
          </Stack>
        </Timeline.Item>
        <Timeline.Item
          bullet={<b>2</b>}
          title={
            <Text size="sm" fw={600}>
              Sign it where the key is
            </Text>
          }
        >
          <Stack gap={6}>
            <Code block tabIndex={0} style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
              {`device-ota firmware sign --key signing.key.pem --manifest ${name}\n# or\nopenssl pkeyutl -sign -rawin -inkey signing.key.pem \\\n  -in ${name} -out manifest.sig`}
            </Code>
          </Stack>
        </Timeline.Item>
        <Timeline.Item
          bullet={<b>3</b>}
          title={
            <Text size="sm" fw={600}>
              Hand in the signature
            </Text>
          }
        >
          <Stack gap="xs" maw={520}>
            <Select
              label="Signed with"
              data={keys}
              value={keyId}
              onChange={setKeyId}
              placeholder="Choose the key"
            />
            <Textarea
              label="Signature"
              description="Paste it in base64 or hexadecimal, or choose the file."
              value={file === undefined ? pasted : `(${file.length} bytes from the file)`}
              readOnly={file !== undefined}
              onChange={({ currentTarget }) => setPasted(currentTarget.value)}
              error={
                pasted.trim() !== "" && signature === undefined
                  ? "This is neither base64 nor hexadecimal"
                  : null
              }
              autosize
              minRows={2}
            />
            <Group gap="xs">
              <FileButton onChange={(chosen) => void take(chosen, setFile)}>
                {(props) => (
                  <Button size="compact-sm" variant="default" {...props}>
                    Choose the signature file
                  </Button>
                )}
              </FileButton>
              {file !== undefined && (
                <Button size="compact-sm" variant="subtle" onClick={() => setFile(undefined)}>
                  Remove it
                </Button>
              )}
            </Group>
          </Stack>
        </Timeline.Item>
      </Timeline>
      {failure !== undefined && <Failure error={failure} doing="add the signature" />}
      <Button
        w="fit-content"
        loading={sign.isPending}
        disabled={keyId === null || signature === undefined}
        onClick={() => void submit()}
      >
        Verify and add the signature
      </Button>
    </Stack>
  );
}

async function take(file: File | null, put: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<void> {
  if (file !== null && file.size <= maxFileBytes) put(new Uint8Array(await file.arrayBuffer()));
}

/** The most that the contract takes for a manifest. */
const maxFileBytes = 64 * 1024;
