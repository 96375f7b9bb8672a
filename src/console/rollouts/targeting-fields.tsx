import { NumberInput, SimpleGrid, TagsInput, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import type { FilterFault } from "../filter/filter-fault.ts";
import { useKnownValues } from "../filter/use-known-values.ts";
import type { RolloutForm } from "./rollout-form.ts";

interface TargetingFieldsProps {
  readonly form: UseFormReturnType<RolloutForm>;
  readonly firmware: Firmware | undefined;
  /** What is wrong with the filter. */
  readonly fault: FilterFault | undefined;
}

/** Whom a rollout reaches: every rule narrows it. */
export function TargetingFields({ form, firmware, fault }: TargetingFieldsProps) {
  const { groups = [] } = useKnownValues();
  const known = [...groups];
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }}>
      <TagsInput
        label="Only device types"
        splitChars={[]}
        data={firmware?.deviceTypes ?? []}
        acceptValueOnBlur
        {...form.getInputProps("deviceTypes")}
      />
      <TagsInput
        label="Only hardware models"
        splitChars={[]}
        data={firmware?.hardwareModels ?? []}
        acceptValueOnBlur
        {...form.getInputProps("hardwareModels")}
      />
      <TagsInput label="Only groups" data={known} acceptValueOnBlur {...form.getInputProps("groups")} />
      <TagsInput
        label="Never groups"
        data={known}
        acceptValueOnBlur
        {...form.getInputProps("excludedGroups")}
      />
      <TagsInput
        label="First of all, groups"
        description="Always in the first ring"
        data={known}
        acceptValueOnBlur
        {...form.getInputProps("canaryGroups")}
      />
      <NumberInput
        label="Only a share"
        description="Of the devices that pass every other rule"
        placeholder="100 %"
        suffix=" %"
        min={0.01}
        max={100}
        decimalScale={2}
        {...form.getInputProps("percent")}
      />
      <TagsInput label="Only tags" acceptValueOnBlur {...form.getInputProps("tags")} />
      <TextInput
        label="Only versions"
        placeholder=">=1.2.0 <2.0.0"
        maxLength={256}
        {...form.getInputProps("versionRange")}
      />
      <TextInput
        label="Only devices that match"
        placeholder='groups:"berlin" AND battery_percent > 30'
        maxLength={2000}
        spellCheck={false}
        {...form.getInputProps("filter")}
        error={fault && `At character ${fault.at + 1}: ${fault.problem}`}
      />
    </SimpleGrid>
  );
}
