/** One call in a stack, as far as it identifies the place. */
export interface Frame {
  /** The function, normalised; where the format has it, with its module, class or file. Never empty. */
  readonly symbol: string;
  /** Whether it is the device's own code, not a runtime's or the system's. */
  readonly inApp: boolean;
}

/** What the text of a stack says. */
export interface ParsedStack {
  /** The class of the exception or the sort of the fault; empty if the text does not say. */
  readonly fault: string;
  /** The innermost call first. Of several stacks those of the root cause. */
  readonly frames: readonly Frame[];
}
