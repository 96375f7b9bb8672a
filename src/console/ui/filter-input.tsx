import { CloseButton, TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";
import { useEffect, useState } from "react";

interface FilterInputProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly width?: number;
}

/** A text to filter by, taken over when typing pauses. */
export function FilterInput({ label, value, onChange, width = 160 }: FilterInputProps) {
  const [typed, setTyped] = useState(value);
  const [taken, setTaken] = useState(value);
  if (taken !== value) {
    setTaken(value);
    setTyped(value);
  }
  useEffect(() => {
    if (typed.trim() === value) return undefined;
    const timer = setTimeout(() => onChange(typed.trim()), pauseMs);
    return () => clearTimeout(timer);
  }, [typed, value, onChange]);
  return (
    <TextInput
      aria-label={label}
      placeholder={label}
      size="xs"
      w={width}
      value={typed}
      onChange={({ currentTarget }) => setTyped(currentTarget.value)}
      leftSection={<IconSearch size={14} aria-hidden />}
      rightSection={
        typed === "" ? undefined : (
          <CloseButton size="xs" aria-label={`Clear ${label}`} onClick={() => setTyped("")} />
        )
      }
    />
  );
}

const pauseMs = 300;
