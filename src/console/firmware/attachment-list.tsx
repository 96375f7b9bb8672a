import { Code, Group, Stack, Text } from "@mantine/core";
import { AttachmentKind, type Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { CopyText } from "../ui/copy-text.tsx";
import { bytes } from "../ui/format.ts";
import { SaveButton } from "../ui/save-button.tsx";
import { Section } from "../ui/section.tsx";

/** The files beside a firmware: what it is made of, and where it comes from. */
export function AttachmentList({ firmware }: { readonly firmware: Firmware }) {
  const { id, attachments } = firmware;
  return (
    <Section
      title="Provenance"
      description="Files that say what it is made of and where it comes from. The signed manifest has the digest of each."
    >
      {attachments.length === 0 ? (
        <Text size="sm" c="dimmed">
          None. Before it is signed, <Code>device-ota firmware attach</Code> takes bills of materials
          (CycloneDX, SPDX), SUIT envelopes and in-toto attestations.
        </Text>
      ) : (
        <Stack gap="sm">
          {attachments.map(({ id: attachmentId, kind, format, fileName, sha256, sizeBytes }) => (
            <Group key={attachmentId} gap="sm" justify="space-between" wrap="nowrap" align="flex-start">
              <div style={{ minWidth: 0 }}>
                <Text size="sm" style={{ overflowWrap: "anywhere" }}>
                  <b>{kindNames[kind]}</b> {fileName !== "" && `${fileName}, `}
                  {format}, {bytes(sizeBytes)}
                </Text>
                <Text size="xs" c="dimmed" component="div">
                  SHA-256 <CopyText text={sha256} shown={`${sha256.slice(0, 12)}…`} />
                </Text>
              </div>
              <SaveButton
                path={`/api/v1/firmware/${encodeURIComponent(id)}/attachments/${encodeURIComponent(attachmentId)}`}
                name={fileName || `${attachmentId}.json`}
              >
                Save
              </SaveButton>
            </Group>
          ))}
        </Stack>
      )}
    </Section>
  );
}

const kindNames: Readonly<Record<AttachmentKind, string>> = {
  [AttachmentKind.UNSPECIFIED]: "File",
  [AttachmentKind.CYCLONEDX]: "Bill of materials",
  [AttachmentKind.SPDX]: "Bill of materials",
  [AttachmentKind.SUIT]: "SUIT envelope",
  [AttachmentKind.IN_TOTO]: "Attestation",
};
