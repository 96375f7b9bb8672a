import { compact, type RawSearch, searchText } from "./search.ts";

/** The address of the audit log. */
export interface AuditSearch {
  readonly actor?: string;
  readonly action?: string;
  readonly kind?: string;
  readonly resource?: string;
}

/** Reads {@link AuditSearch}. */
export function auditSearch(raw: RawSearch): AuditSearch {
  return compact({
    actor: searchText(raw, "actor"),
    action: searchText(raw, "action"),
    kind: searchText(raw, "kind"),
    resource: searchText(raw, "resource"),
  });
}
