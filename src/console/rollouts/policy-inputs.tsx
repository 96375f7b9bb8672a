import "@mantine/core/styles/Accordion.css";
import { Accordion, SimpleGrid, Stack, Text } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { type Field, type Fields, fieldGroups, fieldsWhere } from "../../policy/field.ts";
import { policyFields } from "../../policy/policy-fields.ts";
import { FieldInput } from "./field-input.tsx";
import { RollbackTarget } from "./rollback-target.tsx";
import type { RolloutForm } from "./rollout-form.ts";
import { WindowsEditor } from "./windows-editor.tsx";

interface PolicyInputsProps {
  readonly form: UseFormReturnType<RolloutForm>;
  /** The defaults in force, by the fields' names. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** What will be brought, once it is chosen. */
  readonly firmware: Firmware | undefined;
}

/** What operators should see of a rollout's policy: what stops it by itself, and how fast it may go. */
export function FrontPolicyInputs(props: PolicyInputsProps) {
  return <Inputs fields={fieldsWhere(policyFields, ({ inFront }) => inFront === true)} {...props} />;
}

/** The parts of a rollout's policy that most rollouts leave as they are, by what they are about; closed at first. */
export function OtherPolicyInputs(props: PolicyInputsProps) {
  return (
    <Accordion variant="contained" multiple chevronPosition="left">
      {Object.entries(fieldGroups).map(([name, { title, hint }]) => {
        const fields = fieldsWhere(policyFields, ({ group, inFront }) => group === name && inFront !== true);
        if (Object.keys(fields).length === 0) return null;
        return (
          <Accordion.Item value={name} key={name}>
            <Accordion.Control>
              <Text size="sm" fw={500}>
                {title}{" "}
                <Text span inherit fw={400} c="dimmed">
                  {hint}
                </Text>
              </Text>
            </Accordion.Control>
            <Accordion.Panel>
              <Inputs fields={fields} {...props} />
            </Accordion.Panel>
          </Accordion.Item>
        );
      })}
    </Accordion>
  );
}

/** Short inputs side by side, and below them what takes a line of its own. */
function Inputs({ fields, ...props }: PolicyInputsProps & { readonly fields: Fields }) {
  const all = Object.entries(fields);
  const isWide = ({ kind }: Field) => kind === "flag" || kind === "windows" || kind === "firmware";
  return (
    <Stack gap="sm">
      <SimpleGrid cols={{ base: 1, sm: 2, md: 3 }}>
        {all
          .filter(([, field]) => !isWide(field))
          .map(([name, field]) => (
            <Input key={name} name={name} field={field} {...props} />
          ))}
      </SimpleGrid>
      {all
        .filter(([, field]) => isWide(field))
        .map(([name, field]) => (
          <Input key={name} name={name} field={field} {...props} />
        ))}
    </Stack>
  );
}

interface InputProps extends PolicyInputsProps {
  readonly name: string;
  readonly field: Field;
}

function Input({ name, field, form, defaults, firmware }: InputProps) {
  const path = `policy.${name}`;
  if (field.kind === "windows") return <WindowsEditor form={form} />;
  if (field.kind !== "firmware")
    return <FieldInput field={field} path={path} form={form} fallback={defaults[name]} />;
  if (firmware === undefined) return null;
  const { value, onChange } = form.getInputProps(path);
  return (
    <RollbackTarget
      rollout={{ firmwareId: firmware.id, product: firmware.product }}
      value={value as string}
      onChange={onChange as (firmwareId: string) => void}
    />
  );
}
