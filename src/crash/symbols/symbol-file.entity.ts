import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt } from "../../infra/database/columns.ts";

/** An ELF file that names the places of a program; see {@link SymbolFile} for the columns. */
export const SymbolFileEntity = defineEntity({
  name: "SymbolFile",
  tableName: "symbol_files",
  properties: {
    id: p.uuid().primary(),
    buildId: p.text(),
    sha256: p.text(),
    fileName: p.text(),
    sizeBytes: count(),
    functionCount: count(),
    /** The address of the stored object, which is this file's alone. */
    objectSha256: p.text(),
    createdBy: p.text(),
    createdAt: createdAt(),
  },
  uniques: [{ name: "symbol_files_sha256_unique", properties: ["sha256"] }],
});
