import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type InventoryRow, inventoryRows } from "./inventory-rows.ts";

async function rowsOf(format: "csv" | "ndjson", text: string) {
  await using folder = await mkdtempDisposable(join(tmpdir(), "inventory-"));
  const path = join(folder.path, `devices.${format}`);
  await writeFile(path, text);
  const rows: InventoryRow[] = [];
  for await (const row of inventoryRows(path, format, new AbortController().signal)) rows.push(row);
  return rows;
}

it("reads a line of JSON up to its end, whatever stands in its texts and before it", async () => {
  const devices = ["1\u20282", "3\u20294", "5"].map((serialNumber) => ({ serialNumber }));
  const text = `\uFEFF${devices.map((device) => JSON.stringify(device)).join("\r\n")}\n\n`;
  expect(await rowsOf("ndjson", text)).toEqual([
    { line: 1, device: expect.objectContaining({ serialNumber: "1\u20282" }) },
    { line: 2, device: expect.objectContaining({ serialNumber: "3\u20294" }) },
    { line: 3, device: expect.objectContaining({ serialNumber: "5" }) },
  ]);
});

it.each(["csv", "ndjson"] as const)("refuses %s with a row that does not end", async (format) => {
  await expect(rowsOf(format, `serial_number${"x".repeat(1_048_577 * 2)}`)).rejects.toThrow(
    format === "csv" ? /no CSV/ : /more than 1048576 characters/,
  );
});
