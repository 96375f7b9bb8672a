import { type PointerEvent, type ReactNode, useRef, useState } from "react";
import classes from "./select-span.module.css";

interface SelectSpanProps {
  /** The margins of the drawing inside, in pixels. */
  readonly left: number;
  readonly right: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly shortestMs: number;
  readonly onSelect: (startMs: number, endMs: number) => void;
  readonly children: ReactNode;
}

/** Lets the mouse choose a span of time on the drawing inside, by dragging. Fingers scroll; buttons do the same for the keyboard. */
export function SelectSpan({ left, right, startMs, endMs, shortestMs, onSelect, children }: SelectSpanProps) {
  const box = useRef<HTMLDivElement>(null);
  const [drag, setDrag] = useState<readonly [begun: number, now: number] | undefined>();
  const place = (event: PointerEvent) => {
    const { left: edge, width } = box.current?.getBoundingClientRect() ?? { left: 0, width: 1 };
    return Math.min(Math.max(event.clientX - edge, left), width - right);
  };
  const timeAt = (x: number) => {
    const width = (box.current?.clientWidth ?? 1) - left - right;
    return Math.round(startMs + ((x - left) / Math.max(width, 1)) * (endMs - startMs));
  };
  const finish = () => {
    if (drag === undefined) return;
    setDrag(undefined);
    const [from, to] = drag.map(timeAt).toSorted((a, b) => a - b);
    if (from !== undefined && to !== undefined && to - from >= shortestMs) onSelect(from, to);
  };
  return (
    <div
      ref={box}
      className={classes["box"] ?? ""}
      onPointerDown={(event) => {
        if (event.pointerType !== "mouse" || event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrag([place(event), place(event)]);
      }}
      onPointerMove={(event) => {
        if (drag !== undefined) setDrag([drag[0], place(event)]);
      }}
      onPointerUp={finish}
      onPointerCancel={() => setDrag(undefined)}
    >
      {children}
      {drag !== undefined && (
        <div
          className={classes["chosen"] ?? ""}
          style={{ left: Math.min(...drag), width: Math.abs(drag[1] - drag[0]) }}
        />
      )}
    </div>
  );
}
