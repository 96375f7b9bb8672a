import { type RefObject, useEffect, useRef } from "react";

/** Where the keyboard is in a list whose lines come and go by themselves. */
interface KeptFocus {
  readonly list: RefObject<HTMLUListElement | null>;
  /** After a dialog: puts it back to what opened that, or to the list if that is gone with its line. */
  readonly giveBack: (opener: HTMLElement) => void;
}

/**
 * Keeps the keyboard in a list: when the line that has it goes, the list itself has it, so that who works by keyboard or screen
 * reader does not begin anew at the top of the page. `lines`: another text whenever other lines are there.
 */
export function useKeptFocus(lines: string): KeptFocus {
  const list = useRef<HTMLUListElement>(null);
  /** What had it last; undefined if that was not in the list. */
  const last = useRef<Element | undefined>(undefined);
  useEffect(() => {
    const remember = () => {
      const active = document.activeElement ?? undefined;
      last.current = list.current?.contains(active ?? null) === true ? active : undefined;
    };
    document.addEventListener("focusin", remember);
    return () => document.removeEventListener("focusin", remember);
  }, []);
  useEffect(() => {
    if (last.current?.isConnected === false) focus(list.current);
  }, [lines]);
  return {
    list,
    // The dialog goes first, and with it what had the keyboard.
    giveBack: (opener) => {
      setTimeout(() => focus(opener.isConnected ? opener : list.current));
    },
  };
}

/** Unless the keyboard is somewhere. Without the list, the page has it. */
function focus(element: HTMLElement | null): void {
  if (document.activeElement !== null && document.activeElement !== document.body) return;
  (element ?? document.getElementById("main"))?.focus();
}
