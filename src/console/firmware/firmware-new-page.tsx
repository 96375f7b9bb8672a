import { useMutation } from "@connectrpc/connect-query";
import {
  Button,
  Checkbox,
  Collapse,
  Group,
  NumberInput,
  SegmentedControl,
  Stack,
  TagsInput,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useForm } from "@mantine/form";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { newRequestId } from "../data/request-id.ts";
import { Failure } from "../ui/failure.tsx";
import { Link, LinkButton } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { FileField, type HashedFile } from "./file-field.tsx";
import { type FirmwareForm, firmwareFormRules, guessFromFileName, requestOf } from "./firmware-form.ts";
import { useUploads } from "./uploads.tsx";

/** Creates a firmware from its file, and begins to upload it. */
export function FirmwareNewPage() {
  const navigate = useNavigate();
  const uploads = useUploads();
  const [chosen, setChosen] = useState<HashedFile | undefined>();
  const [more, setMore] = useState(false);
  const [requestId] = useState(newRequestId);
  const form = useForm<FirmwareForm>({
    mode: "controlled",
    initialValues: {
      kind: "firmware",
      component: "",
      product: "",
      version: "",
      deviceTypes: [],
      hardwareModels: [],
      releaseNotes: "",
      minBatteryPercent: 30,
      minFreeStorageMiB: 0,
      minCurrentVersion: "",
      securityCounter: 0,
      securityFix: false,
      mandatoryStep: false,
      reportedVersions: [],
    },
    validate: firmwareFormRules,
  });
  const create = useMutation(FirmwareService.method.createFirmware);

  const choose = (file: HashedFile | undefined) => {
    setChosen(file);
    if (file === undefined) return;
    const { product, version } = guessFromFileName(file.file.name);
    const { values } = form;
    form.setValues({ product: values.product || product, version: values.version || version });
  };
  const submit = async (values: FirmwareForm) => {
    if (chosen === undefined) return;
    const { firmware } = await create.mutateAsync({
      ...requestOf(values),
      requestId,
      sha256: chosen.sha256,
      sizeBytes: BigInt(chosen.file.size),
    });
    if (firmware === undefined) return;
    uploads.start(firmware.id, chosen.file);
    await navigate({ to: "/firmware/$firmwareId", params: { firmwareId: firmware.id } });
  };

  return (
    <Page
      title="New firmware"
      trail={[
        <Link key="list" to="/firmware">
          Firmware
        </Link>,
      ]}
    >
      <form onSubmit={form.onSubmit((values) => void submit(values).catch(() => undefined))}>
        <Stack gap="md" maw={820}>
          <Section title="Content">
            <FileField value={chosen} onChange={choose} />
          </Section>
          <Section title="What it is">
            <Stack gap="sm">
              <SegmentedControl
                aria-label="What it updates"
                data={[
                  { value: "firmware", label: "Firmware of the device" },
                  { value: "application", label: "An application on it" },
                ]}
                {...form.getInputProps("kind")}
              />
              {form.values.kind === "application" && (
                <TextInput
                  label="Component"
                  description="The application's name on the device, as its heartbeats report it."
                  withAsterisk
                  {...form.getInputProps("component")}
                />
              )}
              <Group grow align="flex-start">
                <TextInput
                  label="Product"
                  description="For example thermostat-os"
                  withAsterisk
                  {...form.getInputProps("product")}
                />
                <TextInput
                  label="Version"
                  description="A semantic version, for example 1.4.0"
                  withAsterisk
                  {...form.getInputProps("version")}
                />
              </Group>
              <TagsInput
                label="Device types"
                splitChars={[]}
                description="The types that it is for. Press Enter after each."
                withAsterisk
                acceptValueOnBlur
                {...form.getInputProps("deviceTypes")}
              />
              <TagsInput
                label="Hardware models"
                splitChars={[]}
                description="The models that it runs on; none means every model of those types."
                acceptValueOnBlur
                {...form.getInputProps("hardwareModels")}
              />
              <Textarea
                label="Release notes"
                description="What changed, for people; Markdown."
                autosize
                minRows={3}
                maxRows={12}
                {...form.getInputProps("releaseNotes")}
              />
            </Stack>
          </Section>
          <Section
            title="When a device may install it"
            actions={
              <Button
                variant="subtle"
                size="compact-sm"
                aria-expanded={more}
                onClick={() => setMore((shown) => !shown)}
              >
                {more ? "Hide" : "Show"}
              </Button>
            }
            description="Minimum charge, free storage and version; anti-rollback. The defaults are safe."
          >
            <Collapse expanded={more}>
              <Stack gap="sm">
                <Group grow align="flex-start">
                  <NumberInput
                    label="Minimum charge"
                    description="Or on external power. 0: no rule."
                    suffix=" %"
                    min={0}
                    max={100}
                    {...form.getInputProps("minBatteryPercent")}
                  />
                  <NumberInput
                    label="Minimum free storage"
                    description="0: no rule beside the content's size."
                    suffix=" MiB"
                    min={0}
                    {...form.getInputProps("minFreeStorageMiB")}
                  />
                </Group>
                <Group grow align="flex-start">
                  <TextInput
                    label="Minimum current version"
                    description="Installed only from this version or newer. Empty: from any."
                    {...form.getInputProps("minCurrentVersion")}
                  />
                  <NumberInput
                    label="Security counter"
                    description="Rises with security fixes; a device never goes below the highest it ran."
                    min={0}
                    max={2_147_483_647}
                    {...form.getInputProps("securityCounter")}
                  />
                </Group>
                <TagsInput
                  label="Reported as"
                  description="Further texts under which devices report it, such as 2024.08.1. Press Enter after each."
                  splitChars={[]}
                  acceptValueOnBlur
                  {...form.getInputProps("reportedVersions")}
                />
                <Checkbox
                  label="It fixes a security fault"
                  {...form.getInputProps("securityFix", { type: "checkbox" })}
                />
                <Checkbox
                  label="It is a mandatory step"
                  description="Devices on a version below it get it first, before any newer version of this product."
                  {...form.getInputProps("mandatoryStep", { type: "checkbox" })}
                />
              </Stack>
            </Collapse>
          </Section>
          {create.error !== null && <Failure error={create.error} doing="create the firmware" />}
          <Group>
            <Button type="submit" loading={create.isPending} disabled={chosen === undefined}>
              Create and upload
            </Button>
            <LinkButton to="/firmware" variant="default">
              Cancel
            </LinkButton>
          </Group>
        </Stack>
      </form>
    </Page>
  );
}
