import { useQuery } from "@connectrpc/connect-query";
import { Code as CodeText, Group, SimpleGrid, Skeleton, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { type Firmware, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { useSession } from "../session/session.tsx";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { bytes } from "../ui/format.ts";
import { Link, LinkButton } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { Time, TimeAgo } from "../ui/time.tsx";
import { firmwareKind, firmwareStates, firmwareTitle } from "../words/firmware-words.ts";
import { AttachmentList } from "./attachment-list.tsx";
import { ContentPanel } from "./content-panel.tsx";
import { DeleteFirmware } from "./delete-firmware.tsx";
import { FirmwareUse } from "./firmware-use.tsx";
import { RecallFirmware } from "./recall-firmware.tsx";
import { RecallNotice } from "./recall-notice.tsx";
import { ReleaseFirmware } from "./release-firmware.tsx";
import { SignPanel } from "./sign-panel.tsx";
import { SignatureList } from "./signature-list.tsx";

const route = getRouteApi("/firmware/$firmwareId");

/** One firmware: what it is, its content, who signed it, and where it runs. */
export function FirmwarePage() {
  const { firmwareId } = route.useParams();
  const { data, error, refetch } = useQuery(FirmwareService.method.getFirmware, { id: firmwareId });
  const firmware = data?.firmware;
  const trail = [
    <Link key="list" to="/firmware">
      Firmware
    </Link>,
  ];
  if (firmware === undefined) {
    return (
      <Page title="Firmware" trail={trail}>
        {error === null ? (
          <Skeleton h={320} />
        ) : (
          <Failure error={error} doing="show this firmware" retry={refetch} />
        )}
      </Page>
    );
  }
  const { tone, text, meaning } = firmwareStates[firmware.state];
  const deleted = firmware.deleteTime !== undefined;
  return (
    <Page
      title={firmwareTitle(firmware)}
      trail={trail}
      aside={
        <>
          {deleted ? <Status tone="idle" text="Deleted" /> : <Status tone={tone} text={text} />}
          {firmware.damagedTime !== undefined && <Status tone="bad" text="Damaged: upload it again" />}
          {firmware.recall !== undefined && <Status tone="bad" text="Recalled" />}
        </>
      }
      description={deleted ? "It was taken out of the catalogue; the record stays for history." : meaning}
      actions={<Actions firmware={firmware} />}
    >
      <RecallNotice firmware={firmware} />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md" style={{ alignItems: "start" }}>
        <Stack gap="md">
          <ContentPanel firmware={firmware} />
          <SignatureList firmware={firmware} />
          <AttachmentList firmware={firmware} />
          {!deleted && firmware.state !== FirmwareState.DRAFT && <SignPanel firmware={firmware} />}
        </Stack>
        <Stack gap="md">
          <FirmwareUse firmware={firmware} />
          <About firmware={firmware} />
          {firmware.releaseNotes !== "" && (
            <Section title="Release notes">
              <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
                {firmware.releaseNotes}
              </Text>
            </Section>
          )}
        </Stack>
      </SimpleGrid>
    </Page>
  );
}

function Actions({ firmware }: { readonly firmware: Firmware }) {
  const { can } = useSession();
  const { id, state, deleteTime, recall } = firmware;
  const mayChange = can(FirmwareService.method.deleteFirmware) && deleteTime === undefined;
  const mayServe = mayChange && recall === undefined;
  return (
    <>
      <LinkButton to="/firmware/compare" search={{ a: id }} variant="default" size="sm">
        Compare
      </LinkButton>
      {mayChange && <DeleteFirmware firmware={firmware} />}
      {mayServe && can(FirmwareService.method.recallFirmware) && <RecallFirmware firmware={firmware} />}
      {mayServe && state === FirmwareState.UPLOADED && <ReleaseFirmware firmware={firmware} />}
      {mayServe && state === FirmwareState.RELEASED && (
        <LinkButton to="/rollouts/new" search={{ firmware: id }} size="sm">
          Roll out
        </LinkButton>
      )}
    </>
  );
}

function About({ firmware }: { readonly firmware: Firmware }) {
  const { minBatteryPercent, minFreeStorageBytes, minCurrentVersion } = firmware;
  return (
    <Section title="About it">
      <Facts
        facts={[
          ["Kind", firmwareKind(firmware)],
          ["Reported as", firmware.reportedVersions.join(", ") || undefined],
          ["Device types", firmware.deviceTypes.join(", ")],
          ["Hardware models", firmware.hardwareModels.join(", ") || "every model of those types"],
          [
            "Minimum charge",
            minBatteryPercent === 0 ? "no rule" : `${minBatteryPercent} %, or external power`,
          ],
          ["Free storage", minFreeStorageBytes === 0n ? "no rule" : bytes(minFreeStorageBytes)],
          ["Installs from", minCurrentVersion === "" ? "any version" : `${minCurrentVersion} or newer`],
          ["Security counter", String(firmware.securityCounter)],
          ["Security fix", firmware.securityFix ? "yes" : undefined],
          ["Mandatory step", firmware.mandatoryStep ? "yes: nobody skips it" : undefined],
          ["Expires", firmware.expireTime && <Time key="e" at={firmware.expireTime} />],
          ["Created", <Time key="c" at={firmware.createTime} />],
          ["Changed", <TimeAgo key="u" at={firmware.updateTime} />],
          ["Released", firmware.releaseTime && <Time key="r" at={firmware.releaseTime} />],
          ["Id", <CopyText key="i" text={firmware.id} />],
          ...Object.entries(firmware.metadata).map(
            ([name, value]) =>
              [
                name,
                <Group key={name}>
                  <CodeText>{value}</CodeText>
                </Group>,
              ] as const,
          ),
        ]}
      />
    </Section>
  );
}
