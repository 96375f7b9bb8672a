import { useQuery } from "@connectrpc/connect-query";
import { Button, Group, Stack, Text } from "@mantine/core";
import { IconCircleCheck, IconCircleX } from "@tabler/icons-react";
import { useState } from "react";
import { type Firmware, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { useSession } from "../session/session.tsx";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { bytes, percent } from "../ui/format.ts";
import { Section } from "../ui/section.tsx";
import { toneColor } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { FileField, type HashedFile } from "./file-field.tsx";
import { UploadProgress } from "./upload-progress.tsx";
import { useUpload, useUploads } from "./uploads.tsx";

/** A firmware's content: whether it is there and verified; otherwise its upload, to watch, begin or continue. */
export function ContentPanel({ firmware }: { readonly firmware: Firmware }) {
  const { can } = useSession();
  const upload = useUpload(firmware.id);
  const mayUpload = can(FirmwareService.method.uploadFirmwareChunk) && firmware.deleteTime === undefined;
  const isDamaged = firmware.damagedTime !== undefined;
  const isComplete = firmware.state !== FirmwareState.DRAFT && !isDamaged;
  const facts = (
    <Facts
      facts={[
        ["Size", `${bytes(firmware.sizeBytes)} (${firmware.sizeBytes} bytes)`],
        ["SHA-256", <CopyText key="sha256" text={firmware.sha256} />],
      ]}
    />
  );
  return (
    <Section title="Content">
      <Stack gap="md">
        {isComplete && (
          <Group gap="xs" wrap="nowrap">
            <IconCircleCheck size={20} stroke={1.5} color={toneColor("good")} aria-hidden />
            <Text size="sm">Verified: what was uploaded has this size and SHA-256.</Text>
          </Group>
        )}
        {isDamaged && (
          <Group gap="xs" wrap="nowrap">
            <IconCircleX size={20} stroke={1.5} color={toneColor("bad")} aria-hidden />
            <Text size="sm">
              The stored content is damaged or missing, found <TimeAgo at={firmware.damagedTime} />: devices
              are given none of it until it is uploaded again.
            </Text>
          </Group>
        )}
        {!isComplete && upload !== undefined && <UploadProgress firmwareId={firmware.id} />}
        {!isComplete && upload === undefined && mayUpload && <Continue firmware={firmware} />}
        {firmware.state === FirmwareState.DRAFT && upload === undefined && !mayUpload && (
          <Text size="sm">Its content has not been uploaded yet.</Text>
        )}
        {facts}
      </Stack>
    </Section>
  );
}

function Continue({ firmware }: { readonly firmware: Firmware }) {
  const uploads = useUploads();
  const [chosen, setChosen] = useState<HashedFile | undefined>();
  const { data } = useQuery(FirmwareService.method.getFirmwareUpload, { id: firmware.id });
  const committed = Number(data?.committedBytes ?? 0n);
  const isOther = chosen !== undefined && chosen.sha256 !== firmware.sha256;
  const far = percent(Math.floor((1_000 * committed) / Number(firmware.sizeBytes)) / 10);
  return (
    <Stack gap="sm">
      <Text size="sm">
        {committed > 0
          ? `${bytes(committed)} (${far}) of the content is here. Choose the same file again to go on from there.`
          : `${firmware.damagedTime === undefined ? "The content is not here yet. " : ""}Choose the file whose SHA-256 is below.`}
      </Text>
      <FileField value={chosen} onChange={setChosen} />
      {isOther && (
        <Text size="sm" c="var(--mantine-color-error)" role="alert">
          This is another file: its SHA-256 is not the one below.
        </Text>
      )}
      <Button
        w="fit-content"
        disabled={chosen === undefined || isOther}
        onClick={() => chosen !== undefined && uploads.start(firmware.id, chosen.file)}
      >
        {committed > 0 ? "Continue the upload" : "Upload"}
      </Button>
    </Stack>
  );
}
