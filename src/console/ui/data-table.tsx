import { Box, Skeleton, Table } from "@mantine/core";
import type { ReactNode } from "react";
import type { Pages } from "../data/use-pages.ts";
import classes from "./data-table.module.css";
import { Failure } from "./failure.tsx";
import { ShowMore } from "./show-more.tsx";

/** One column of a table. */
export interface Column<Row> {
  readonly id: string;
  readonly header: ReactNode;
  readonly cell: (row: Row) => ReactNode;
  /** Right-aligned, with figures of equal width. */
  readonly numeric?: boolean;
  /** CSS width; the others share what is left. */
  readonly width?: string | number;
  /** Left out on phones. */
  readonly wide?: boolean;
}

interface DataTableProps<Row> {
  /** What it lists, for screen readers and failures: "firmware". */
  readonly name: string;
  readonly columns: readonly Column<Row>[];
  readonly pages: Pages<Row>;
  readonly keyOf: (row: Row) => string;
  /** Stands there when the list is empty. */
  readonly empty: ReactNode;
}

/** A list as a table that grows page by page. It keeps its height while it loads. */
export function DataTable<Row>({ name, columns, pages, keyOf, empty }: DataTableProps<Row>) {
  const { rows, error, isStale, retry } = pages;
  if (error !== null && rows === undefined) {
    return (
      <Box p="md">
        <Failure error={error} doing={`list ${name}`} retry={retry} />
      </Box>
    );
  }
  if (rows?.length === 0) return empty;
  return (
    <>
      {/* A box that may scroll must be reachable by keyboard. */}
      <Table.ScrollContainer
        minWidth={0}
        type="native"
        tabIndex={0}
        role="region"
        aria-label={`List of ${name}`}
      >
        <Table
          className={classes["table"] ?? ""}
          aria-label={name}
          aria-busy={rows === undefined || isStale}
          highlightOnHover
          verticalSpacing={6}
        >
          <Table.Thead>
            <Table.Tr>
              {columns.map((column) => (
                <Table.Th key={column.id} {...cellProps(column)}>
                  {column.header}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody style={{ opacity: isStale ? 0.6 : 1 }}>
            {rows === undefined
              ? placeholders.map((key) => (
                  <Table.Tr key={key}>
                    {columns.map((column) => (
                      <Table.Td key={column.id} {...cellProps(column)}>
                        <Skeleton h={12} my={5} w="70%" />
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))
              : rows.map((row) => (
                  <Table.Tr key={keyOf(row)}>
                    {columns.map((column) => (
                      <Table.Td key={column.id} {...cellProps(column)}>
                        {column.cell(row)}
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {error !== null && (
        <Box p="md">
          <Failure error={error} doing={`list more ${name}`} retry={retry} />
        </Box>
      )}
      <ShowMore pages={pages} />
    </>
  );
}

const placeholders = [1, 2, 3, 4, 5, 6];

function cellProps<Row>({ numeric, width, wide }: Column<Row>) {
  return {
    ...(width === undefined ? {} : { w: width }),
    ...(wide === true ? { visibleFrom: "sm" as const } : {}),
    ...(numeric === true ? { ta: "right" as const, className: "numbers" } : {}),
  };
}
