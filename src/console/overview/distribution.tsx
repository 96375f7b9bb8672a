import { Group, Progress, Stack, Text } from "@mantine/core";
import type { CountByName } from "../../../gen/ota/v1/device_service_pb.js";
import { quoted } from "../filter/complete-filter.ts";
import { count, counted, percent } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";

interface DistributionProps {
  readonly counts: readonly CountByName[];
  readonly total: number;
  /** The filter's field, for the way to the devices behind a bar. */
  readonly field: string;
}

/** How many devices share what, as bars, most first. */
export function Distribution({ counts, total, field }: DistributionProps) {
  const rows = counts.slice(0, shown);
  const rest = counts.slice(shown);
  return (
    <Stack gap={8}>
      {rows.map(({ name, count: devices }) => (
        <div key={name}>
          <Group justify="space-between" gap="xs" wrap="nowrap">
            <Text size="sm" truncate component="div">
              {name === "" ? (
                "not told yet"
              ) : (
                <Link to="/devices" search={{ filter: filterOf(field, name) }}>
                  {name}
                </Link>
              )}
            </Text>
            <Text size="sm" className="numbers" style={{ whiteSpace: "nowrap" }}>
              {count(devices)}{" "}
              <Text span inherit c="dimmed">
                {percent(Math.round((1_000 * Number(devices)) / Math.max(total, 1)) / 10)}
              </Text>
            </Text>
          </Group>
          <Progress
            value={(100 * Number(devices)) / Math.max(total, 1)}
            size={5}
            aria-label={name || "not told yet"}
          />
        </div>
      ))}
      {rest.length > 0 && (
        <Text size="xs" c="dimmed">
          and {counted(rest.length, "other")}
        </Text>
      )}
    </Stack>
  );
}

/** More would push everything else off the page. */
const shown = 8;

function filterOf(field: string, name: string): string {
  return `${field} ${field === "groups" ? ":" : "="} ${quoted(name)}`;
}
