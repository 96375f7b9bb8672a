import { invalidArgument } from "../../errors.ts";
import type { Metadata } from "../model/rollout.entity.ts";

/** What a validated request gives of a metadata field; undefined if it gives nothing. */
export function fromMetadata(metadata: Metadata | undefined): Metadata | undefined {
  return metadata === undefined || Object.keys(metadata).length === 0 ? undefined : metadata;
}

/** The filter of a validated list request, whose entries are written `key=value`. `INVALID_ARGUMENT` for a key that is given twice. */
export function fromMetadataFilter(entries: readonly string[]): Metadata | undefined {
  if (entries.length === 0) return undefined;
  const wanted = new Map<string, string>();
  for (const [at, entry] of entries.entries()) {
    const split = entry.indexOf("=");
    const key = entry.slice(0, split);
    if (wanted.has(key)) throw invalidArgument(`metadata[${at}]`, `names ${key} a second time`);
    wanted.set(key, entry.slice(split + 1));
  }
  return Object.fromEntries(wanted);
}
