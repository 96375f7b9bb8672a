import { Checkbox, NumberInput, Select, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import type { Field } from "../../policy/field.ts";
import { fieldText } from "../../policy/field-text.ts";
import { policyWriters } from "../words/policy-words.ts";
import { type RolloutForm, unitSizes } from "./rollout-form.ts";

interface FieldInputProps {
  readonly field: Field;
  /** Where the form holds it. */
  readonly path: string;
  readonly form: UseFormReturnType<RolloutForm>;
  /** What holds while the input is empty; undefined if nothing does. */
  readonly fallback: unknown;
  readonly size?: "xs" | "sm";
  readonly width?: number;
}

/** The input of a field of a policy or of a gate. While it is empty it shows, dimmed, the default that holds. */
export function FieldInput({ field, path, form, fallback, size = "sm", width }: FieldInputProps) {
  const { kind, label, hint, unit, range, step, choices = {} } = field;
  const common = { label, description: hint, size, ...(width === undefined ? {} : { w: width }) };
  if (kind === "flag")
    return (
      <Checkbox
        label={label}
        description={hint}
        size={size}
        {...form.getInputProps(path, { type: "checkbox" })}
      />
    );
  if (kind === "time") return <TextInput type="datetime-local" {...common} {...form.getInputProps(path)} />;
  if (kind === "choice")
    return (
      <Select
        allowDeselect={false}
        data={Object.entries(choices).map(([name, words]) => ({
          value: name === field.default ? "" : name,
          label: words,
        }))}
        {...common}
        {...form.getInputProps(path)}
      />
    );
  // A 0 that the contract cannot tell from nothing does not come with the defaults.
  const standard = fallback ?? (typeof field.default === "number" ? field.default : undefined);
  const scale = unit === undefined ? 1 : unitSizes[unit];
  return (
    <NumberInput
      placeholder={
        standard === undefined ? (field.toldNone ?? "no limit") : fieldText(field, standard, policyWriters)
      }
      thousandSeparator=","
      allowDecimal={kind !== "count"}
      {...(range === undefined ? {} : { min: range[0] / scale, max: range[1] / scale })}
      {...(step === undefined ? {} : { step })}
      {...suffixOf(field)}
      {...common}
      {...form.getInputProps(path)}
    />
  );
}

function suffixOf({ kind, unit }: Field): { suffix?: string } {
  if (kind === "percent") return { suffix: " %" };
  return unit === undefined ? {} : { suffix: ` ${unit}` };
}
