import { ActionIcon, Button, Checkbox, Group, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import classes from "./rings-editor.module.css";
import { type RolloutForm, ring } from "./rollout-form.ts";

interface RingsEditorProps {
  readonly form: UseFormReturnType<RolloutForm>;
  /** What is wrong with the rings. */
  readonly fault: string | undefined;
}

/** The rings of a new rollout, each with its gate. */
export function RingsEditor({ form, fault }: RingsEditorProps) {
  const { rings } = form.values;
  return (
    <Stack gap="sm">
      {rings.map((each, index) => (
        <fieldset className={classes["ring"]} key={`ring ${index + 1}`}>
          <legend>
            Ring {index + 1}
            {each.name === "" ? "" : `: ${each.name}`}
          </legend>
          <Group gap="sm" align="flex-end">
            <TextInput label="Name" w={130} size="xs" {...form.getInputProps(`rings.${index}.name`)} />
            <NumberInput
              label="Up to"
              suffix=" %"
              w={90}
              size="xs"
              min={0.01}
              max={100}
              decimalScale={2}
              {...form.getInputProps(`rings.${index}.percent`)}
            />
            <NumberInput
              label="Finished, at least"
              w={120}
              size="xs"
              min={0}
              {...form.getInputProps(`rings.${index}.minSample`)}
            />
            <NumberInput
              label="Succeeded"
              suffix=" %"
              w={90}
              size="xs"
              min={0}
              max={100}
              {...form.getInputProps(`rings.${index}.minSuccessPercent`)}
            />
            <NumberInput
              label="Held for"
              suffix=" min"
              w={100}
              size="xs"
              min={0}
              {...form.getInputProps(`rings.${index}.soakMinutes`)}
            />
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={`Remove the ring ${each.name}`}
              disabled={rings.length === 1}
              onClick={() => form.removeListItem("rings", index)}
            >
              <IconTrash size={16} aria-hidden />
            </ActionIcon>
          </Group>
          <Group gap="md" mt="xs">
            <Checkbox
              size="xs"
              label="Promoted by hand"
              {...form.getInputProps(`rings.${index}.manual`, { type: "checkbox" })}
            />
            <Checkbox
              size="xs"
              label="Health must be no worse"
              {...form.getInputProps(`rings.${index}.requireNoWorseHealth`, { type: "checkbox" })}
            />
            <Checkbox
              size="xs"
              label="Somebody else approves that it opens"
              {...form.getInputProps(`rings.${index}.requireApproval`, { type: "checkbox" })}
            />
          </Group>
        </fieldset>
      ))}
      {fault !== undefined && (
        <Text size="sm" c="var(--mantine-color-error)" role="alert">
          {fault}
        </Text>
      )}
      <Button
        w="fit-content"
        size="compact-sm"
        variant="default"
        leftSection={<IconPlus size={14} aria-hidden />}
        disabled={rings.length >= maxRings}
        onClick={() => form.insertListItem("rings", ring(`ring-${rings.length + 1}`, 100))}
      >
        Add a ring
      </Button>
    </Stack>
  );
}

/** What the contract takes. */
const maxRings = 16;
