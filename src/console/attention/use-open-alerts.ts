import { useQuery } from "@connectrpc/connect-query";
import { AlertState } from "../../../gen/ota/v1/alert_pb.js";
import { AlertService, type ListAlertsResponse } from "../../../gen/ota/v1/alert_service_pb.js";
import { useSession } from "../session/session.tsx";

/** What fires and nobody has taken note of, kept up to date; all that show it share one call. */
export interface OpenAlerts {
  /** Undefined before the first answer. */
  readonly answer: ListAlertsResponse | undefined;
  /** Why it could not be read the last time; what was read before that may be old. */
  readonly error: Error | null;
  readonly retry: () => void;
}

/**
 * Follows the newest alerts that nobody has acknowledged. Undefined for a token that may not read them, which is limited: nothing
 * is called for it. They are asked for again and again and not streamed, because a browser has six HTTP/1.1 connections for
 * all tabs, and the tab's title must be right while nobody looks.
 */
export function useOpenAlerts(): OpenAlerts | undefined {
  const { can } = useSession();
  const mayRead = can(AlertService.method.listAlerts);
  const { data, error, refetch } = useQuery(
    AlertService.method.listAlerts,
    { state: AlertState.FIRING, unacknowledged: true, pageSize: maxOpen },
    {
      enabled: mayRead,
      refetchInterval: () => (document.hidden ? hiddenPollMs : alertPollMs),
      refetchIntervalInBackground: true,
    },
  );
  return mayRead ? { answer: data, error, retry: () => void refetch() } : undefined;
}

/** How often alerts are asked for while somebody looks: the service looks itself every two seconds. */
export const alertPollMs = 4_000;

/** The same in a tab that nobody looks at. */
const hiddenPollMs = 30_000;

/** Of more the newest; how many there are the answer says. */
const maxOpen = 100;
