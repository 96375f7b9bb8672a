import "@mantine/core/styles/Accordion.css";
import { Accordion, Checkbox, NumberInput, Select, SimpleGrid, Stack, Text, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { HealthAction } from "../../../gen/ota/v1/rollout_pb.js";
import { RollbackTarget } from "./rollback-target.tsx";
import type { RolloutForm } from "./rollout-form.ts";
import { WindowsEditor } from "./windows-editor.tsx";

interface AdvancedFieldsProps {
  readonly form: UseFormReturnType<RolloutForm>;
  /** What will be brought, once it is chosen. */
  readonly firmware: Firmware | undefined;
}

/** The parts of a rollout's policy that most rollouts leave as they are, by what they are about; closed at first. */
export function AdvancedFields({ form, firmware }: AdvancedFieldsProps) {
  return (
    <Accordion variant="contained" multiple chevronPosition="left">
      <Part name="when" title="When" hint="start, maintenance windows, priority">
        <Columns>
          <TextInput
            type="datetime-local"
            label="Start at"
            description="Your time; empty: at once"
            {...form.getInputProps("startTime")}
          />
          <NumberInput
            label="Priority"
            description="For devices in several rollouts"
            min={-100}
            max={100}
            {...form.getInputProps("priority")}
          />
        </Columns>
        <WindowsEditor form={form} />
      </Part>
      <Part
        name="device"
        title="What a device must allow"
        hint="metered networks, storage, consent, downgrade"
      >
        <Columns>
          <NumberInput
            label="On metered networks, up to"
            description="Empty: no limit"
            suffix=" MiB"
            min={0}
            {...form.getInputProps("maxMeteredMib")}
          />
          <NumberInput
            label="Free storage"
            description="Times the content's size; 0: any"
            min={0}
            max={100}
            step={0.5}
            decimalScale={2}
            {...form.getInputProps("storageFactor")}
          />
        </Columns>
        <Checkbox
          label="Only with the user's consent"
          description="Devices are offered it once they say that their user agreed."
          {...form.getInputProps("requireUserConsent", { type: "checkbox" })}
        />
        <Checkbox
          label="Also to devices that run a newer version"
          description="A downgrade; never below a device's security counter."
          {...form.getInputProps("allowDowngrade", { type: "checkbox" })}
        />
      </Part>
      <Part name="failure" title="When it fails" hint="retries, crash limit, health, where to go back to">
        <Columns>
          <NumberInput
            label="Tries again"
            description="Before a device counts as failed"
            min={0}
            max={10}
            {...form.getInputProps("maxRetries")}
          />
          <NumberInput
            label="First try again after"
            description="Twice as long each time"
            suffix=" min"
            min={0.1}
            max={1_440}
            {...form.getInputProps("retryBackoffMinutes")}
          />
          <NumberInput
            label="Crashes that fail it"
            description="While it is watched"
            min={1}
            max={1_000}
            {...form.getInputProps("crashLimit")}
          />
          <NumberInput
            label="Stop at so many failed"
            description="In a ring; empty: by share only"
            min={1}
            {...form.getInputProps("failureCountLimit")}
          />
          <Select
            label="When health is worse"
            description="Than that of the others"
            allowDeselect={false}
            data={healthActions}
            {...form.getInputProps("onWorseHealth")}
          />
          <NumberInput
            label="Chance of a false alarm"
            description="Of the health verdict, 0.0001 to 0.2"
            min={0.0001}
            max={0.2}
            step={0.01}
            {...form.getInputProps("healthAlpha")}
          />
        </Columns>
        {firmware !== undefined && (
          <RollbackTarget
            rollout={{ firmwareId: firmware.id, product: firmware.product }}
            value={form.values.rollbackFirmwareId}
            onChange={(id) => form.setFieldValue("rollbackFirmwareId", id)}
          />
        )}
      </Part>
    </Accordion>
  );
}

const healthActions = [
  { value: String(HealthAction.UNSPECIFIED), label: "as after too many failures" },
  { value: String(HealthAction.ROLLBACK), label: "roll back" },
  { value: String(HealthAction.PAUSE), label: "pause" },
  { value: String(HealthAction.NONE), label: "only say so" },
];

interface PartProps {
  readonly name: string;
  readonly title: string;
  readonly hint: string;
  readonly children: React.ReactNode;
}

function Part({ name, title, hint, children }: PartProps) {
  return (
    <Accordion.Item value={name}>
      <Accordion.Control>
        <Text size="sm" fw={500}>
          {title}{" "}
          <Text span inherit fw={400} c="dimmed">
            {hint}
          </Text>
        </Text>
      </Accordion.Control>
      <Accordion.Panel>
        <Stack gap="sm">{children}</Stack>
      </Accordion.Panel>
    </Accordion.Item>
  );
}

function Columns({ children }: { readonly children: React.ReactNode }) {
  return <SimpleGrid cols={{ base: 1, sm: 2, md: 3 }}>{children}</SimpleGrid>;
}
