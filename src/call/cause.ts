/** Who does something. */
export interface Actor {
  /** As the audit log names it: `operator:<token name>`, `device:<id>` or `system:<rule>`. */
  readonly actor: string;
}

/** Who does something, and why. */
export interface Cause extends Actor {
  /** In words; for a rule its numbers. */
  readonly reason: string;
  /** For a rule: its name and numbers, for the record. */
  readonly details?: Readonly<Record<string, string>> | undefined;
}

/** Who creates something. */
export interface CreateCause extends Actor {
  /** Identifies the try (AIP-155); the same again answers with what the first one made. */
  readonly requestId?: string | undefined;
}
