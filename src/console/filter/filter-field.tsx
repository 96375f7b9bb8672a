import "@mantine/core/styles/Kbd.css";
import { ActionIcon, Combobox, Group, Kbd, Loader, Text, TextInput, useCombobox } from "@mantine/core";
import { IconFilter, IconX } from "@tabler/icons-react";
import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import { type Choice, completeFilter } from "./complete-filter.ts";
import type { FilterFault } from "./filter-fault.ts";
import classes from "./filter-field.module.css";
import { useKnownValues } from "./use-known-values.ts";

interface FilterFieldProps {
  /** The filter in force. */
  readonly value: string;
  /** What is wrong with the filter in force. */
  readonly fault: FilterFault | undefined;
  readonly isLoading: boolean;
  /** Takes a filter over, when Enter is pressed. */
  readonly onChange: (filter: string) => void;
}

/** A filter in the language of the contract (AIP-160), with completion; faults are shown where they are. */
export function FilterField({ value, fault, isLoading, onChange }: FilterFieldProps) {
  const [typed, setTyped] = useState(value);
  const [caret, setCaret] = useState(value.length);
  const input = useRef<HTMLInputElement>(null);
  const completedAt = useRef<number>(undefined);
  // As soon as the completed text is in the field, and before another key is: later, the caret would jump back behind it.
  useLayoutEffect(() => {
    if (completedAt.current === undefined) return;
    input.current?.setSelectionRange(completedAt.current, completedAt.current);
    completedAt.current = undefined;
  });
  const combobox = useCombobox({ onDropdownClose: () => combobox.resetSelectedOption() });
  const known = useKnownValues();
  const [applied, setApplied] = useState(value);
  if (applied !== value) {
    setApplied(value);
    setTyped(value);
  }
  const completion = completeFilter(typed, caret, known);
  const apply = (filter: string) => {
    combobox.closeDropdown();
    onChange(filter.trim());
  };
  const write = (text: string) => {
    const choice = completion.choices.find((each) => each.text === text);
    if (choice === undefined) return;
    const rest = typed.slice(completion.to);
    const next = `${typed.slice(0, completion.from)}${text}${rest === "" || !rest.startsWith(" ") ? " " : ""}`;
    setTyped(next + rest);
    setCaret(next.length);
    completedAt.current = next.length;
    combobox.resetSelectedOption();
  };
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key !== "Enter") return;
    if (combobox.dropdownOpened && combobox.getSelectedOptionIndex() >= 0) return;
    event.preventDefault();
    apply(typed);
  };
  const isChanged = typed.trim() !== value;
  return (
    <div>
      <Combobox store={combobox} onOptionSubmit={write} position="bottom-start" width={420} shadow="md">
        <Combobox.Target>
          <TextInput
            ref={input}
            aria-label="Filter"
            placeholder='Filter: presence = OFFLINE AND groups:"berlin", or a part of a serial number'
            ff="monospace"
            size="sm"
            autoComplete="off"
            spellCheck={false}
            maxLength={2000}
            value={typed}
            aria-invalid={fault !== undefined}
            aria-describedby={fault === undefined ? undefined : faultId}
            leftSection={<IconFilter size={16} aria-hidden />}
            rightSectionWidth={isChanged ? 116 : undefined}
            rightSection={
              isChanged ? (
                <Text size="xs" c="dimmed" ff="text" style={{ whiteSpace: "nowrap" }}>
                  <Kbd size="xs">Enter</Kbd> applies
                </Text>
              ) : isLoading ? (
                <Loader size="xs" aria-label="Looking" />
              ) : typed === "" ? undefined : (
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  aria-label="Clear the filter"
                  onClick={() => apply("")}
                >
                  <IconX size={16} aria-hidden />
                </ActionIcon>
              )
            }
            onKeyDown={onKeyDown}
            onChange={({ currentTarget }) => {
              setTyped(currentTarget.value);
              setCaret(currentTarget.selectionStart ?? currentTarget.value.length);
              combobox.openDropdown();
            }}
            onSelect={({ currentTarget }) => setCaret(currentTarget.selectionStart ?? 0)}
            onClick={() => combobox.openDropdown()}
            onBlur={() => combobox.closeDropdown()}
          />
        </Combobox.Target>
        <Combobox.Dropdown hidden={completion.choices.length === 0}>
          <Combobox.Options mah={320} style={{ overflowY: "auto" }} aria-label="What can stand here">
            {completion.choices.map((choice) => (
              <Option key={choice.text} choice={choice} />
            ))}
          </Combobox.Options>
        </Combobox.Dropdown>
      </Combobox>
      {fault !== undefined && <Fault filter={value} fault={fault} />}
    </div>
  );
}

function Option({ choice: { text, hint } }: { readonly choice: Choice }) {
  return (
    <Combobox.Option value={text}>
      <Group justify="space-between" gap="md" wrap="nowrap">
        <Text size="sm" ff="monospace">
          {text}
        </Text>
        <Text size="xs" c="dimmed" truncate>
          {hint}
        </Text>
      </Group>
    </Combobox.Option>
  );
}

/** The filter again, with the place of the fault marked. */
function Fault({ filter, fault: { at, problem } }: { readonly filter: string; readonly fault: FilterFault }) {
  return (
    <div id={faultId} role="alert" className={classes["fault"] ?? ""}>
      <code>
        {filter.slice(0, at)}
        <mark>{filter.slice(at, at + 1) || " "}</mark>
        {filter.slice(at + 1)}
      </code>
      <Text size="sm">
        At character {at + 1}: {problem}
      </Text>
    </div>
  );
}

const faultId = "filter-fault";
