import { Box, Checkbox, Skeleton, Text, UnstyledButton } from "@mantine/core";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { type ReactNode, useEffect, useState } from "react";
import type { Device } from "../../../../gen/ota/v1/device_pb.js";
import { type DeviceOrder, deviceOrders } from "../../addresses/device-search.ts";
import type { Pages } from "../../data/use-pages.ts";
import { Failure } from "../../ui/failure.tsx";
import { deviceTitle } from "../../words/device-words.ts";
import { type DeviceColumn, deviceColumns } from "./device-columns.tsx";
import classes from "./device-table.module.css";
import { useRowWindow } from "./use-row-window.ts";
import type { Selection } from "./use-selection.ts";

interface DeviceTableProps {
  readonly pages: Pages<Device>;
  /** How many devices there are in all, once it is known. */
  readonly total: number | undefined;
  readonly order: DeviceOrder;
  readonly onOrder: (order: DeviceOrder) => void;
  /** Undefined for those who may not change devices. */
  readonly selection: Selection | undefined;
  readonly empty: ReactNode;
}

/** Devices, however many: pages are read as one scrolls to them, and only rows in sight are drawn. */
export function DeviceTable({ pages, total, order, onOrder, selection, empty }: DeviceTableProps) {
  const [box, setBox] = useState<HTMLDivElement | null>(null);
  const { rows, error, hasMore, isReadingMore, isStale, more, retry } = pages;
  const { start, end } = useRowWindow(box, rowHeightPx, rows?.length ?? 0);
  const nearEnd = rows !== undefined && end > rows.length - readAheadRows;
  useEffect(() => {
    if (nearEnd && hasMore && !isReadingMore && error === null) more();
  }, [nearEnd, hasMore, isReadingMore, error, more]);
  useEffect(() => {
    if (isStale) box?.scrollTo({ top: 0 });
  }, [box, isStale]);
  if (error !== null && rows === undefined) {
    return (
      <Box p="md">
        <Failure error={error} doing="list devices" retry={retry} />
      </Box>
    );
  }
  if (rows?.length === 0) return empty;
  return (
    <>
      <Box
        ref={setBox}
        className={classes["box"] ?? ""}
        tabIndex={0}
        role="region"
        aria-label="Table of devices"
      >
        <table
          className={classes["table"] ?? ""}
          aria-label="devices"
          aria-rowcount={total === undefined ? -1 : total + 1}
          aria-busy={rows === undefined || isStale}
          style={{ opacity: isStale ? 0.6 : 1 }}
        >
          <thead>
            <tr>
              {selection !== undefined && (
                <th className={classes["check"] ?? ""}>
                  <Checkbox
                    size="xs"
                    aria-label="Choose all that were read"
                    checked={selection.holdsAll(rows)}
                    indeterminate={selection.size > 0 && !selection.holdsAll(rows)}
                    onChange={() => selection.toggleAll(rows)}
                  />
                </th>
              )}
              {deviceColumns.map((column) => (
                <Header key={column.id} column={column} order={order} onOrder={onOrder} />
              ))}
            </tr>
          </thead>
          <tbody>
            {rows === undefined
              ? placeholders.map((key) => <Placeholder key={key} hasCheck={selection !== undefined} />)
              : [
                  <Spacer key="above" rows={start} />,
                  ...rows
                    .slice(start, end)
                    .map((device, index) => (
                      <Row
                        key={device.id}
                        device={device}
                        place={start + index + 2}
                        selection={device.retireTime === undefined ? selection : undefined}
                        hasCheck={selection !== undefined}
                      />
                    )),
                  <Spacer key="below" rows={rows.length - end} />,
                  ...(hasMore ? [<Placeholder key="more" hasCheck={selection !== undefined} />] : []),
                ]}
          </tbody>
        </table>
      </Box>
      {error !== null && (
        <Box p="md">
          <Failure error={error} doing="list more devices" retry={more} />
        </Box>
      )}
    </>
  );
}

/** In CSS as well: every row has it, so that the place of a row is known without drawing it. */
const rowHeightPx = 36;

/** How far before the end the next page is asked for. */
const readAheadRows = 60;

const placeholders = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

interface RowProps {
  readonly device: Device;
  /** The row's place in the whole table, from 1 with the header. */
  readonly place: number;
  readonly selection: Selection | undefined;
  readonly hasCheck: boolean;
}

function Row({ device, place, selection, hasCheck }: RowProps) {
  const isChosen = selection?.has(device.id) ?? false;
  return (
    <tr aria-rowindex={place} data-chosen={isChosen || undefined}>
      {hasCheck && (
        <td className={classes["check"] ?? ""}>
          {selection !== undefined && (
            <Checkbox
              size="xs"
              aria-label={`Choose ${deviceTitle(device)}`}
              checked={isChosen}
              onChange={() => selection.toggle(device.id)}
            />
          )}
        </td>
      )}
      {deviceColumns.map((column) => (
        <td key={column.id} className={cellClass(column)}>
          {column.cell(device)}
        </td>
      ))}
    </tr>
  );
}

interface HeaderProps {
  readonly column: DeviceColumn;
  readonly order: DeviceOrder;
  readonly onOrder: (order: DeviceOrder) => void;
}

/** A column's name; a button where the column can be ordered by. */
function Header({ column, order, onOrder }: HeaderProps) {
  const { orderBy, header, width } = column;
  const [field, direction] = order.split(" ");
  const isOrdered = orderBy === field;
  const isDescending = direction === "desc";
  const next = isOrdered && !isDescending ? `${orderBy} desc` : orderBy;
  return (
    <th
      className={cellClass(column)}
      data-column={column.id}
      style={{ width }}
      aria-sort={isOrdered ? (isDescending ? "descending" : "ascending") : undefined}
    >
      {orderBy === undefined ? (
        header
      ) : (
        <UnstyledButton
          className={classes["order"] ?? ""}
          onClick={() => {
            const known = deviceOrders.find((each) => each === next);
            if (known !== undefined) onOrder(known);
          }}
        >
          {header}
          {isOrdered &&
            (isDescending ? <IconArrowDown size={12} aria-hidden /> : <IconArrowUp size={12} aria-hidden />)}
        </UnstyledButton>
      )}
    </th>
  );
}

/** Stands for rows that are not drawn. */
function Spacer({ rows }: { readonly rows: number }) {
  if (rows <= 0) return null;
  return (
    <tr aria-hidden style={{ height: rows * rowHeightPx }}>
      <Box component="td" className={classes["spacer"] ?? ""} />
    </tr>
  );
}

function Placeholder({ hasCheck }: { readonly hasCheck: boolean }) {
  return (
    <tr>
      {hasCheck && <Box component="td" />}
      <td>
        <Skeleton h={12} w="60%" />
        <Text className="mantine-visually-hidden">Loading</Text>
      </td>
    </tr>
  );
}

function cellClass({ numeric, wide }: DeviceColumn): string {
  return [
    numeric === true ? `numbers ${classes["numeric"] ?? ""}` : "",
    wide === true ? (classes["wide"] ?? "") : "",
  ].join(" ");
}
