import { compact, type RawSearch, searchChoice } from "./search.ts";

/** Which deliveries of a webhook are shown, beside all of them. */
export const deliveryFilters = ["waiting", "delivered", "dead"] as const;

/** The address of a webhook's page. */
export interface WebhookSearch {
  readonly show?: (typeof deliveryFilters)[number];
}

/** Reads {@link WebhookSearch}. */
export function webhookSearch(raw: RawSearch): WebhookSearch {
  return compact({ show: searchChoice(raw, "show", deliveryFilters) });
}
