import { ActionIcon, Button, Checkbox, Group, NumberInput, Stack, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { weekdayNames } from "../../policy/field-text.ts";
import classes from "./rings-editor.module.css";
import { nightlyWindow, type RolloutForm } from "./rollout-form.ts";

/** The times of the week at which devices may be updated; none for any time. */
export function WindowsEditor({ form }: { readonly form: UseFormReturnType<RolloutForm> }) {
  const { windows } = form.values;
  return (
    <Stack gap="sm">
      {windows.map((_, index) => (
        <fieldset className={classes["ring"]} key={`window ${index + 1}`}>
          <legend>Maintenance window {index + 1}</legend>
          <Group gap="sm" align="flex-end">
            <TextInput
              type="time"
              label="Begins at"
              size="xs"
              required
              {...form.getInputProps(`windows.${index}.start`)}
            />
            <NumberInput
              label="Lasts"
              suffix=" h"
              w={90}
              size="xs"
              min={0.1}
              max={24}
              decimalScale={2}
              required
              {...form.getInputProps(`windows.${index}.hours`)}
            />
            <TextInput
              label="Time zone"
              placeholder="UTC"
              w={170}
              size="xs"
              maxLength={64}
              {...form.getInputProps(`windows.${index}.timeZone`)}
            />
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={`Remove the maintenance window ${index + 1}`}
              onClick={() => form.removeListItem("windows", index)}
            >
              <IconTrash size={16} aria-hidden />
            </ActionIcon>
          </Group>
          <Checkbox.Group
            mt="xs"
            label="Begins on"
            description="None chosen: every day"
            size="xs"
            {...form.getInputProps(`windows.${index}.weekdays`)}
          >
            <Group gap="sm" mt={4}>
              {weekdayNames.map((label, at) => (
                <Checkbox key={label} size="xs" value={String(at + 1)} label={label} />
              ))}
            </Group>
          </Checkbox.Group>
        </fieldset>
      ))}
      <Button
        w="fit-content"
        size="compact-sm"
        variant="default"
        leftSection={<IconPlus size={14} aria-hidden />}
        disabled={windows.length >= maxWindows}
        onClick={() => form.insertListItem("windows", nightlyWindow())}
      >
        Add a maintenance window
      </Button>
    </Stack>
  );
}

/** What the contract takes. */
const maxWindows = 16;
