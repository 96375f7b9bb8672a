import { Text } from "@mantine/core";
import classes from "./status.module.css";

/** How a state is to be taken. */
export type Tone = "good" | "busy" | "warn" | "bad" | "idle";

interface StatusProps {
  readonly tone: Tone;
  /** The state in words: colour is never all that tells. */
  readonly text: string;
  /** A dot that pulses: it is going on right now. */
  readonly active?: boolean;
}

/** A state: a coloured dot with its name. */
export function Status({ tone, text, active = false }: StatusProps) {
  return (
    <Text component="span" size="sm" className={classes["status"] ?? ""}>
      <span
        className={`${classes["dot"] ?? ""} ${active ? (classes["active"] ?? "") : ""}`}
        style={{ background: toneColor(tone) }}
        aria-hidden
      />
      {text}
    </Text>
  );
}

/** The colour of a tone, which has contrast in both schemes. */
export function toneColor(tone: Tone): string {
  return `var(--ota-${tone})`;
}
