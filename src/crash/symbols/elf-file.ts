import { FunctionTable, type NamedFunction } from "./function-table.ts";

/** Reads a part of a file; shorter where the file ends. */
export type ReadBytes = (offset: number, length: number) => Promise<Buffer>;

/** What of an ELF file names the places of its program. */
export interface ElfSymbols {
  /** The GNU build id in lower-case hexadecimal; empty if the file has none. */
  readonly buildId: string;
  readonly functions: FunctionTable;
}

/** A file that is no ELF file, or none with symbols. Its message is for people. */
export class ElfError extends Error {
  override readonly name = "ElfError";
}

/**
 * Reads build id and functions of an ELF file, of 32 or 64 bits and either order of bytes (System V ABI, chapters 4 and 5). Reads
 * only headers, notes, symbols and their names, each bounded. Throws {@link ElfError}.
 */
export async function readElf(read: ReadBytes): Promise<ElfSymbols> {
  const file = await openElf(read);
  const sections = await file.sections();
  const buildId = await buildIdOf(file, sections);
  const symbols =
    sections.find(({ type }) => type === sectionTypes.symbols) ??
    sections.find(({ type }) => type === sectionTypes.dynamicSymbols);
  const names = symbols === undefined ? undefined : sections[symbols.link];
  if (symbols === undefined || names === undefined)
    throw new ElfError("the file has no symbols: upload the one from before strip");
  if (symbols.size + names.size > maxSymbolBytes)
    throw new ElfError(`the file has more than ${maxSymbolBytes} bytes of symbols`);
  const functions = functionsOf(file, await file.bytes(symbols), await file.bytes(names));
  if (functions.length === 0)
    throw new ElfError("the file has no functions among its symbols: upload the one from before strip");
  return { buildId, functions: new FunctionTable(functions) };
}

/** Bounds the memory of one file's functions. */
const maxSymbolBytes = 64 * 1024 * 1024;

const maxSections = 65_535;
const maxNoteBytes = 64 * 1024;

const sectionTypes = { symbols: 2, notes: 7, dynamicSymbols: 11 } as const;

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  /** The section with the names. */
  readonly link: number;
}

interface Elf {
  readonly is64: boolean;
  /** Whether a function's lowest bit says Thumb. */
  readonly isArm: boolean;
  number(bytes: Buffer, offset: number, size: number): number;
  sections(): Promise<Section[]>;
  bytes(section: Section): Promise<Buffer>;
}

async function openElf(read: ReadBytes): Promise<Elf> {
  const head = await read(0, 64);
  if (head.length < 52 || head.readUInt32BE(0) !== 0x7f_45_4c_46)
    throw new ElfError("the file is no ELF file");
  const is64 = head[4] === 2;
  const isLittle = head[5] === 1;
  const number = (bytes: Buffer, offset: number, size: number): number => {
    if (offset + size > bytes.length) throw new ElfError("the file ends too early");
    if (size < 8) return isLittle ? bytes.readUIntLE(offset, size) : bytes.readUIntBE(offset, size);
    return Number(isLittle ? bytes.readBigUInt64LE(offset) : bytes.readBigUInt64BE(offset));
  };
  const exactly = async (offset: number, length: number): Promise<Buffer> => {
    if (!Number.isSafeInteger(offset)) throw new ElfError("the file ends too early");
    const bytes = await read(offset, length).catch((error: unknown) => {
      throw isOutOfRange(error) ? new ElfError("the file ends too early") : error;
    });
    if (bytes.length < length) throw new ElfError("the file ends too early");
    return bytes;
  };
  return {
    is64,
    isArm: number(head, 18, 2) === 40,
    number,
    bytes: ({ offset, size }) => exactly(offset, size),
    sections: async () => {
      const offset = is64 ? number(head, 40, 8) : number(head, 32, 4);
      const entrySize = number(head, is64 ? 58 : 46, 2);
      const count = number(head, is64 ? 60 : 48, 2);
      if (count === 0 || count > maxSections || entrySize < (is64 ? 64 : 40))
        throw new ElfError("the file has no sections");
      const table = await exactly(offset, count * entrySize);
      return Array.from({ length: count }, (_, index) => {
        const at = index * entrySize;
        return is64
          ? {
              type: number(table, at + 4, 4),
              offset: number(table, at + 24, 8),
              size: number(table, at + 32, 8),
              link: number(table, at + 40, 4),
            }
          : {
              type: number(table, at + 4, 4),
              offset: number(table, at + 16, 4),
              size: number(table, at + 20, 4),
              link: number(table, at + 24, 4),
            };
      });
    },
  };
}

function isOutOfRange(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === "out_of_range";
}

/** The note of type 3 of the owner GNU. */
async function buildIdOf(file: Elf, sections: readonly Section[]): Promise<string> {
  for (const section of sections) {
    if (section.type !== sectionTypes.notes || section.size > maxNoteBytes) continue;
    const notes = await file.bytes(section);
    for (let at = 0; at + 12 <= notes.length; ) {
      const nameSize = file.number(notes, at, 4);
      const size = file.number(notes, at + 4, 4);
      const name = notes.toString("latin1", at + 12, at + 12 + nameSize);
      const begin = at + 12 + padded(nameSize);
      if (file.number(notes, at + 8, 4) === 3 && name === "GNU\0")
        return notes.toString("hex", begin, begin + Math.min(size, 32));
      at = begin + padded(size);
    }
  }
  return "";
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}

function functionsOf(file: Elf, symbols: Buffer, names: Buffer): NamedFunction[] {
  const functions: NamedFunction[] = [];
  const entrySize = file.is64 ? 24 : 16;
  for (let at = 0; at + entrySize <= symbols.length; at += entrySize) {
    const info = symbols[at + (file.is64 ? 4 : 12)] ?? 0;
    const section = file.number(symbols, at + (file.is64 ? 6 : 14), 2);
    // Functions that are defined here, indirect ones (GNU) included.
    if (section === 0 || ((info & 15) !== 2 && (info & 15) !== 10)) continue;
    const begin = file.number(symbols, at, 4);
    const end = names.indexOf(0, begin);
    const name =
      begin >= names.length
        ? ""
        : names.toString("utf8", begin, Math.min(end < 0 ? names.length : end, begin + maxNameBytes));
    if (name === "") continue;
    const value = file.number(symbols, at + (file.is64 ? 8 : 4), file.is64 ? 8 : 4);
    functions.push({
      name,
      address: file.isArm ? value - (value % 2) : value,
      size: file.number(symbols, at + (file.is64 ? 16 : 8), file.is64 ? 8 : 4),
    });
  }
  return functions;
}

const maxNameBytes = 500;
