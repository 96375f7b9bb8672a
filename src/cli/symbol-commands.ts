import { open } from "node:fs/promises";
import { basename } from "node:path";
import type { Command } from "commander";
import type { SymbolFile } from "../../gen/ota/v1/error_group_pb.js";
import {
  DeleteSymbolFileResponseSchema,
  ErrorService,
  GetSourceLinesResponseSchema,
  ListSymbolFilesResponseSchema,
  type MissingBuild,
  type SourceLine,
  UploadSymbolFileResponseSchema,
} from "../../gen/ota/v1/error_service_pb.js";
import { cleanText, countText, timeText } from "./format.ts";
import { type Cli, withSession } from "./session.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";

/** `symbols`: ELF files that name the raw addresses of crashes. */
export function addSymbolCommands(program: Command, cli: Cli): void {
  const symbols = program
    .command("symbols")
    .description("ELF files that name the addresses of stripped programs and firmware");
  symbols
    .command("upload")
    .argument("<file>", "the ELF file from before strip")
    .description("Upload the symbols of a build; its crashes from now on are grouped by functions")
    .action(
      withSession(cli, async (session, path: string) => {
        const answer = await session.rpc.clientStream(ErrorService.method.uploadSymbolFile, chunksOf(path), {
          signal: session.signal,
        });
        session.print(UploadSymbolFileResponseSchema, answer, () =>
          renderFacts(session.terminal, factsOf(answer.symbolFile)),
        );
      }),
    );
  symbols
    .command("list")
    .description("List the symbol files, the newest first, and the builds that crashed without one")
    .action(
      withSession(cli, async (session) => {
        const answer = await session.call(ErrorService.method.listSymbolFiles, {});
        session.print(ListSymbolFilesResponseSchema, answer, () =>
          [
            answer.symbolFiles.length === 0
              ? "No symbol files."
              : renderTable(session.terminal, columns, answer.symbolFiles),
            ...(answer.missingBuilds.length === 0
              ? []
              : [
                  "",
                  "Crashed lately without one:",
                  renderTable(session.terminal, missingColumns, answer.missingBuilds),
                ]),
          ].join("\n"),
        );
      }),
    );
  symbols
    .command("delete")
    .argument("<id>", "the symbol file's id")
    .description("Remove a symbol file; groups that were made with its names stay")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, id: string, { reason = "" }: { reason?: string }) => {
        const answer = await session.call(ErrorService.method.deleteSymbolFile, { id, reason });
        session.print(DeleteSymbolFileResponseSchema, answer, () => `Symbol file ${id} is deleted.`);
      }),
    );
}

/** `error lines`: what the raw addresses of a group's newest stack are. */
export function addLinesCommand(error: Command, cli: Cli): void {
  error
    .command("lines")
    .argument("<id>", "the group's id")
    .description("Look up the source lines of the raw addresses in its newest stack")
    .action(
      withSession(cli, async (session, id: string) => {
        const answer = await session.call(ErrorService.method.getSourceLines, { id });
        session.print(GetSourceLinesResponseSchema, answer, () =>
          answer.missing === ""
            ? renderTable(session.terminal, lineColumns, answer.lines)
            : `No source lines: ${cleanText(answer.missing)}.`,
        );
      }),
    );
}

const lineColumns: readonly Column<SourceLine>[] = [
  { title: "address", text: ({ address }) => cleanText(address) },
  { title: "function", text: (each) => cleanText(each.function) || "-" },
  { title: "line", text: ({ file, line }) => (file === "" ? "-" : cleanText(`${file}:${line}`)) },
];

const columns: readonly Column<SymbolFile>[] = [
  { title: "id", text: ({ id }) => id },
  { title: "file", text: ({ fileName }) => cleanText(fileName) || "-" },
  { title: "build id", text: ({ buildId, sha256 }) => buildId || `sha256 ${sha256.slice(0, 16)}` },
  { title: "functions", text: ({ functionCount }) => String(functionCount), align: "right" },
  { title: "uploaded", text: ({ createTime }) => timeText(createTime) },
];

const missingColumns: readonly Column<MissingBuild>[] = [
  { title: "build id", text: ({ buildId }) => cleanText(buildId) },
  { title: "module", text: ({ module }) => cleanText(module) || "-" },
  { title: "groups", text: ({ groupCount }) => String(groupCount), align: "right" },
  { title: "last seen", text: ({ lastSeenTime }) => timeText(lastSeenTime) },
];

function factsOf(file: SymbolFile | undefined): (readonly [string, string | undefined])[] {
  if (file === undefined) return [];
  return [
    ["symbols", file.id],
    ["file", cleanText(file.fileName) || undefined],
    ["build id", file.buildId || undefined],
    ["sha256", file.sha256],
    ["names", countText(file.functionCount, "function")],
    ["by", `${cleanText(file.createdBy)}, ${timeText(file.createTime)}`],
  ];
}

/** The most that the contract allows in one message. */
const chunkBytes = 256 * 1024;

async function* chunksOf(path: string): AsyncGenerator<{ fileName: string; data: Uint8Array }> {
  const file = await open(path);
  try {
    let fileName = basename(path).slice(0, 200);
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes);
      if (bytesRead === 0) return;
      yield { fileName, data: buffer.subarray(0, bytesRead) };
      fileName = "";
    }
  } finally {
    await file.close();
  }
}
