import { useEffect, useState } from "react";

/** The rows of a long list that are in sight (with some above and below), as a range of their places. */
export interface RowWindow {
  readonly start: number;
  /** Behind the last one. */
  readonly end: number;
}

/**
 * Follows the scrolling of a box whose rows all have one height, so that only those in sight have to be drawn. The
 * arithmetic of equal heights needs no measuring.
 */
export function useRowWindow(box: HTMLElement | null, rowHeightPx: number, count: number): RowWindow {
  const [view, setView] = useState({ top: 0, height: 800 });
  useEffect(() => {
    if (box === null) return undefined;
    const read = () => setView({ top: box.scrollTop, height: box.clientHeight });
    read();
    box.addEventListener("scroll", read, { passive: true });
    const observer = new ResizeObserver(read);
    observer.observe(box);
    return () => {
      box.removeEventListener("scroll", read);
      observer.disconnect();
    };
  }, [box]);
  const first = Math.floor(view.top / rowHeightPx) - spareRows;
  const last = Math.ceil((view.top + view.height) / rowHeightPx) + spareRows;
  return { start: Math.max(Math.min(first, count), 0), end: Math.max(Math.min(last, count), 0) };
}

/** Drawn beyond what is in sight, so that scrolling does not show the edge. */
const spareRows = 10;
