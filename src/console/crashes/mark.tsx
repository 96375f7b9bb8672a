import { Badge } from "@mantine/core";
import type { CSSProperties } from "react";
import { type Tone, toneColor } from "../ui/status.tsx";

interface MarkProps {
  readonly tone: Tone;
  readonly text: string;
}

/** A word that stands out beside a title. */
export function Mark({ tone, text }: MarkProps) {
  const color = toneColor(tone);
  return (
    <Badge
      size="sm"
      variant="outline"
      style={{ "--badge-color": color, "--badge-bd": `1px solid ${color}` } as CSSProperties}
    >
      {text}
    </Badge>
  );
}
