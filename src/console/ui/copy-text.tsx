import { CopyButton, Tooltip, UnstyledButton } from "@mantine/core";
import classes from "./copy-text.module.css";

interface CopyTextProps {
  readonly text: string;
  /** What to show instead of the whole text. */
  readonly shown?: string;
}

/** An id or another exact text that a click copies. */
export function CopyText({ text, shown }: CopyTextProps) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : `Copy ${text}`} withArrow>
          <UnstyledButton
            className={classes["text"] ?? ""}
            onClick={copy}
            aria-label={`${shown ?? text} (copy)`}
          >
            {shown ?? text}
          </UnstyledButton>
        </Tooltip>
      )}
    </CopyButton>
  );
}
