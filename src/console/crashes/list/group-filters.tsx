import { Group, SegmentedControl, Select, Switch } from "@mantine/core";
import { type CrashListSearch, crashAges, crashOrders, crashStates } from "../../addresses/crash-search.ts";
import { useKnownValues } from "../../filter/use-known-values.ts";
import { FilterInput } from "../../ui/filter-input.tsx";

interface GroupFiltersProps {
  readonly search: CrashListSearch;
  readonly onChange: (search: CrashListSearch) => void;
}

/** Narrows the list of error groups, and orders it. */
export function GroupFilters({ search, onChange }: GroupFiltersProps) {
  const known = useKnownValues();
  const { state = "open", order = crashOrders[0], new: age } = search;
  const change = (key: keyof CrashListSearch, value: string | true) => {
    const { [key]: _, ...rest } = search;
    onChange((value === "" ? rest : { ...rest, [key]: value }) as CrashListSearch);
  };
  return (
    <Group gap="xs">
      <SegmentedControl
        size="xs"
        aria-label="State"
        value={state}
        data={crashStates.map((value) => ({ value, label: stateLabels[value] }))}
        onChange={(value) => change("state", value === "open" ? "" : value)}
      />
      <FilterInput
        label="Title or code"
        value={search.text ?? ""}
        onChange={(value) => change("text", value)}
      />
      <Choice
        label="Version"
        none="Any version"
        value={search.version}
        values={known["firmware_version"] ?? []}
        onChange={(value) => change("version", value)}
      />
      <Choice
        label="Device type"
        none="Any type"
        value={search.type}
        values={known["device_type"] ?? []}
        onChange={(value) => change("type", value)}
      />
      <Select
        aria-label="First seen"
        placeholder="Of any age"
        size="xs"
        w={140}
        clearable
        data={crashAges.map((value) => ({ value, label: `New in ${value}` }))}
        value={age ?? null}
        onChange={(value) => change("new", value ?? "")}
      />
      <Select
        aria-label="Order"
        size="xs"
        w={160}
        allowDeselect={false}
        data={crashOrders.map((value) => ({ value, label: orderLabels[value] }))}
        value={order}
        onChange={(value) => change("order", value === crashOrders[0] ? "" : (value ?? ""))}
      />
      <Switch
        label="Crashes only"
        size="xs"
        checked={search.fatal ?? false}
        onChange={({ currentTarget }) => change("fatal", currentTarget.checked || "")}
      />
    </Group>
  );
}

const stateLabels = { open: "Open", resolved: "Resolved", ignored: "Ignored", all: "All" } as const;

const orderLabels: Readonly<Record<(typeof crashOrders)[number], string>> = {
  "last_seen_time desc": "Latest seen first",
  "first_seen_time desc": "Newest first",
  "occurrence_count desc": "Most frequent first",
  "device_count desc": "Most devices first",
};

interface ChoiceProps {
  readonly label: string;
  readonly none: string;
  readonly value: string | undefined;
  readonly values: readonly string[];
  readonly onChange: (value: string) => void;
}

/** One of the values that exist in the fleet; one that the address names is offered too. */
function Choice({ label, none, value, values, onChange }: ChoiceProps) {
  return (
    <Select
      aria-label={label}
      placeholder={none}
      size="xs"
      w={150}
      clearable
      searchable
      data={[...new Set([...(value === undefined ? [] : [value]), ...values])]}
      value={value ?? null}
      onChange={(next) => onChange(next ?? "")}
    />
  );
}
