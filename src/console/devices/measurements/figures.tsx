import { Table } from "@mantine/core";
import type { Series } from "../../../../gen/ota/v1/telemetry_service_pb.js";
import { Section } from "../../ui/section.tsx";
import { metricValue } from "./metric-words.ts";

/** The drawing in figures: the newest, lowest, mean and highest value of each metric. */
export function Figures({ series }: { readonly series: readonly Series[] }) {
  return (
    <Section title="Figures" description="Over this time" flush>
      <Table.ScrollContainer
        minWidth={0}
        type="native"
        tabIndex={0}
        role="region"
        aria-label="List of figures"
      >
        <Table aria-label="Figures" verticalSpacing={6}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Metric</Table.Th>
              {["Newest", "Lowest", "Mean", "Highest"].map((name) => (
                <Table.Th key={name} ta="right">
                  {name}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {series.map((each) => (
              <Table.Tr key={each.metric}>
                <Table.Td>{each.displayName}</Table.Td>
                {figuresOf(each).map(([name, value]) => (
                  <Table.Td key={name} ta="right" className="numbers">
                    {metricValue(value, each.unit)}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}

function figuresOf({ points }: Series): readonly (readonly [string, number])[] {
  const values = points.reduce((sum, { count }) => sum + Number(count), 0);
  const total = points.reduce((sum, { avg, count }) => sum + avg * Number(count), 0);
  return [
    ["newest", points.at(-1)?.last ?? Number.NaN],
    ["lowest", points.reduce((least, { min }) => Math.min(least, min), Number.POSITIVE_INFINITY)],
    ["mean", total / Math.max(values, 1)],
    ["highest", points.reduce((most, { max }) => Math.max(most, max), Number.NEGATIVE_INFINITY)],
  ];
}
