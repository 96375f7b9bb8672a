import { Group, Stack, Text } from "@mantine/core";
import { IconShieldCheck, IconShieldOff, IconShieldX } from "@tabler/icons-react";
import { type Firmware, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { CopyText } from "../ui/copy-text.tsx";
import { Section } from "../ui/section.tsx";
import { toneColor } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";

/** Who signed a firmware, and whether that counts. */
export function SignatureList({ firmware }: { readonly firmware: Firmware }) {
  const { signatures, state } = firmware;
  return (
    <Section
      title="Signatures"
      description="Each was verified by the service over the manifest's exact bytes; devices verify it again by themselves."
    >
      {signatures.length === 0 ? (
        <Group gap="xs" wrap="nowrap">
          <IconShieldOff size={20} stroke={1.5} color={toneColor("warn")} aria-hidden />
          <Text size="sm">
            {state === FirmwareState.RELEASED
              ? "Released without a signature, as this service is set to allow."
              : "Nobody has signed it yet: it can be deployed only if this service requires no signature."}
          </Text>
        </Group>
      ) : (
        <Stack gap="sm">
          {signatures.map(({ keyId, keyName, algorithm, verifyTime, keyRevoked }) => (
            <Group key={keyId} gap="xs" wrap="nowrap" align="flex-start">
              {keyRevoked ? (
                <IconShieldX size={20} stroke={1.5} color={toneColor("bad")} aria-hidden />
              ) : (
                <IconShieldCheck size={20} stroke={1.5} color={toneColor("good")} aria-hidden />
              )}
              <div style={{ minWidth: 0 }}>
                <Text size="sm">
                  {keyRevoked ? "The key was revoked: it counts no more. " : "Valid. "}
                  Signed by <b>{keyName || "a registered key"}</b> ({algorithm})
                  {verifyTime !== undefined && (
                    <>
                      , verified <TimeAgo at={verifyTime} />
                    </>
                  )}
                </Text>
                <Text size="xs" c="dimmed" component="div">
                  Key <CopyText text={keyId} />
                </Text>
              </div>
            </Group>
          ))}
        </Stack>
      )}
    </Section>
  );
}
