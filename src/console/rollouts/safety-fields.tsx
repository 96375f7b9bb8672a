import { Checkbox, NumberInput, SimpleGrid, Stack } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import type { RolloutForm } from "./rollout-form.ts";

/** What stops a rollout by itself, and how fast it may go. */
export function SafetyFields({ form }: { readonly form: UseFormReturnType<RolloutForm> }) {
  return (
    <Stack gap="sm">
      <SimpleGrid cols={{ base: 1, sm: 2, md: 3 }}>
        <NumberInput
          label="Stop above"
          description="Failed, of a ring's finished devices"
          suffix=" %"
          min={0}
          max={100}
          {...form.getInputProps("failureThresholdPercent")}
        />
        <NumberInput
          label="But not before"
          description="Finished devices of the ring"
          min={1}
          {...form.getInputProps("failureMinSample")}
        />
        <NumberInput
          label="Watch each device for"
          description="On the new version, until it counts"
          suffix=" min"
          min={0}
          {...form.getInputProps("verificationMinutes")}
        />
        <NumberInput
          label="A device may take"
          description="From offer to proof"
          suffix=" h"
          min={0.01}
          decimalScale={2}
          {...form.getInputProps("deviceTimeoutHours")}
        />
        <NumberInput
          label="At it at once, at most"
          description="Devices"
          min={1}
          thousandSeparator=","
          {...form.getInputProps("maxInProgress")}
        />
        <NumberInput
          label="Offers a minute, at most"
          description="Empty: no limit"
          min={1}
          thousandSeparator=","
          {...form.getInputProps("offersPerMinute")}
        />
      </SimpleGrid>
      <Checkbox
        label="Pause instead of rolling back"
        description="When too many failed, wait for a person instead of taking the update back."
        {...form.getInputProps("pauseOnFailure", { type: "checkbox" })}
      />
    </Stack>
  );
}
