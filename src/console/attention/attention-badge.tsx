import { Badge, VisuallyHidden } from "@mantine/core";
import { IconBell } from "@tabler/icons-react";
import { useEffect } from "react";
import { count } from "../ui/format.ts";
import { LinkButton } from "../ui/link.tsx";
import { countInTab } from "../ui/tab-title.ts";
import { useOpenAlerts } from "./use-open-alerts.ts";

/** In the header of every page: how many alerts nobody has taken note of, told to screen readers when that changes. */
export function AttentionBadge() {
  const open = useOpenAlerts();
  const number = open?.answer?.unacknowledgedCount;
  useEffect(() => {
    countInTab(number ?? 0);
    return () => countInTab(0);
  }, [number]);
  if (open === undefined) return null;
  const words = number === undefined ? "" : wordsOf(number);
  // What was read before the service went away may be old.
  const isOld = open.error !== null;
  return (
    <>
      <LinkButton
        to="/alerts"
        variant="subtle"
        color="gray"
        size="compact-sm"
        aria-label={`Alerts${words === "" ? "" : `: ${words}`}${isOld ? ", when the service was last heard" : ""}`}
      >
        <IconBell size={18} stroke={1.6} aria-hidden />
        {number !== undefined && number > 0 && (
          <Badge
            size="sm"
            circle={number < 10}
            color={isOld ? "gray" : "red.8"}
            variant={isOld ? "outline" : "filled"}
            ml={4}
            className="numbers"
          >
            {count(number)}
          </Badge>
        )}
      </LinkButton>
      <VisuallyHidden role="status" aria-live="polite">
        {words}
      </VisuallyHidden>
    </>
  );
}

function wordsOf(number: number): string {
  if (number === 0) return "Nothing needs attention";
  return number === 1 ? "1 alert needs attention" : `${count(number)} alerts need attention`;
}
