import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Group, Stack, Text } from "@mantine/core";
import { IconShieldCheck, IconShieldOff, IconShieldX } from "@tabler/icons-react";
import { SigningKeyRole } from "../../../gen/ota/v1/access_pb.js";
import { type Firmware, type FirmwareSignature, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { CopyText } from "../ui/copy-text.tsx";
import { Section } from "../ui/section.tsx";
import { toneColor } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { useNow } from "../ui/use-now.ts";

/** Who signed a firmware, and whether that counts. */
export function SignatureList({ firmware }: { readonly firmware: Firmware }) {
  const { signatures, state } = firmware;
  const now = useNow(60_000);
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
          {signatures.map(({ keyId, keyName, algorithm, verifyTime, ...signature }) => (
            <Group key={keyId} gap="xs" wrap="nowrap" align="flex-start">
              {withoutCount(signature, now) !== undefined ? (
                <IconShieldX size={20} stroke={1.5} color={toneColor("bad")} aria-hidden />
              ) : (
                <IconShieldCheck size={20} stroke={1.5} color={toneColor("good")} aria-hidden />
              )}
              <div style={{ minWidth: 0 }}>
                <Text size="sm">
                  {withoutCount(signature, now) ?? "Valid. "}
                  Signed by <b>{keyName || "a registered key"}</b>
                  {signature.keyRole === SigningKeyRole.SECURITY && ", a security key"} ({algorithm})
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

/** Why a signature counts no more, or not for production; undefined if it does. */
function withoutCount(
  { keyRevoked, keyRole, keyExpireTime }: Pick<FirmwareSignature, "keyRevoked" | "keyRole" | "keyExpireTime">,
  now: Date,
): string | undefined {
  if (keyRevoked) return "The key was revoked: it counts no more. ";
  if (keyExpireTime !== undefined && timestampDate(keyExpireTime) <= now)
    return "The key has expired: it counts no more. ";
  return keyRole === SigningKeyRole.TEST ? "A test key: it counts for trials alone. " : undefined;
}
