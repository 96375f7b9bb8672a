import { ActionIcon, Button, Group, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import type { Field } from "../../policy/field.ts";
import { gateFields } from "../../policy/gate-fields.ts";
import { FieldInput } from "./field-input.tsx";
import classes from "./rings-editor.module.css";
import { maxDevices, type RolloutForm, ring } from "./rollout-form.ts";

interface RingsEditorProps {
  readonly form: UseFormReturnType<RolloutForm>;
  /** The default gate in force, by the fields' names. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** What is wrong with the rings. */
  readonly fault: string | undefined;
}

/** The rings of a new rollout, each with its gate. */
export function RingsEditor({ form, defaults, fault }: RingsEditorProps) {
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
              disabled={each.devices !== ""}
              {...form.getInputProps(`rings.${index}.percent`)}
            />
            <NumberInput
              label="Or devices"
              w={100}
              size="xs"
              min={1}
              max={maxDevices}
              allowDecimal={false}
              thousandSeparator=" "
              {...form.getInputProps(`rings.${index}.devices`)}
            />
            {Object.entries<Field>(gateFields)
              .filter(([, { kind }]) => kind !== "flag")
              .map(([name, field]) => (
                <FieldInput
                  key={name}
                  field={field}
                  path={`rings.${index}.gate.${name}`}
                  form={form}
                  fallback={defaults[name]}
                  size="xs"
                  width={120}
                />
              ))}
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
            {Object.entries<Field>(gateFields)
              .filter(([, { kind }]) => kind === "flag")
              .map(([name, field]) => (
                <FieldInput
                  key={name}
                  field={field}
                  path={`rings.${index}.gate.${name}`}
                  form={form}
                  fallback={undefined}
                  size="xs"
                />
              ))}
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
