/** What the text of a stack was recognised as; the names are those of `ota.v1.StackKind`. */
export type StackKind =
  | "none"
  | "native"
  | "python"
  | "javascript"
  | "rust"
  | "java"
  | "kernel"
  | "other"
  | "go"
  | "dotnet"
  | "microcontroller"
  | "lua";

/** One call in a stack, as far as it identifies the place. */
export interface Frame {
  /** The function, normalised; where the format has it, with its module, class or file. Never empty. */
  readonly symbol: string;
  /** Whether it is the device's own code, not a runtime's or the system's. */
  readonly inApp: boolean;
  /**
   * What else tells the function from others of its name, for one that has none of its own, as callbacks and lambdas: the
   * column or the words of the source line, which stay where a line number moves.
   */
  readonly detail?: string | undefined;
  /** Where the call is, if the text has no name for it: what a symbol file could name. */
  readonly address?: CodeAddress | undefined;
}

/** A place in a program that was built once. */
export interface CodeAddress {
  /** The file name of the program or library; empty for the only program of a microcontroller. */
  readonly module: string;
  /** GNU build id, or the digest of the ELF file, in lower-case hexadecimal; empty if the text does not say. */
  readonly buildId: string;
  /** From where the module begins in memory; for a microcontroller the address itself. */
  readonly offset: bigint;
}

/** A call that the text of a stack leaves unnamed. */
export interface UnnamedCall extends CodeAddress {
  /** The offset to look it up by: that of a caller is where it goes on, which may be behind its end. */
  readonly instruction: bigint;
}

/** What the text of a stack says. */
export interface ParsedStack {
  /** The class of the exception or the sort of the fault; empty if the text does not say. */
  readonly fault: string;
  /** The innermost call first. Of several stacks those of the root cause. */
  readonly frames: readonly Frame[];
}

/** A form in which stacks are printed. */
export interface StackFormat {
  readonly kind: StackKind;
  /** Whether a line is one that only this form has. */
  sign(line: string): boolean;
  /** Reads lines without what loggers put before them. Takes time linear in their length. */
  parse(lines: readonly string[]): ParsedStack;
}

/** Nothing that identifies a place. */
export const nothing: ParsedStack = { fault: "", frames: [] };
