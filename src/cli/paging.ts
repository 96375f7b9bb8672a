import { InvalidArgumentError, Option } from "commander";
import type { Session } from "./session.ts";

/** The most that the service puts on one page. */
const maxPageSize = 1000;

/** The option that lists share. */
export function limitOption(): Option {
  return new Option("-n, --limit <count>", "how many to list at most, or `all`")
    .default(50)
    .argParser(parseLimit);
}

/** The option by which lists are filtered with an expression. */
export function filterOption(example: string): Option {
  return new Option("--filter <filter>", `only those that match, for example '${example}'`);
}

/** Reads pages until there are `limit` items or no more; `more` tells that the service has others. */
export async function readPages<T>(
  limit: number,
  readPage: (page: { pageSize: number; pageToken: string }) => Promise<{
    items: readonly T[];
    nextPageToken: string;
  }>,
): Promise<{ items: T[]; nextPageToken: string }> {
  const items: T[] = [];
  let pageToken = "";
  do {
    const page = await readPage({ pageSize: Math.min(limit - items.length, maxPageSize), pageToken });
    items.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && items.length < limit);
  return { items, nextPageToken: pageToken };
}

/** Says on standard error that a list was cut short. */
export function noteMore(session: Session, nextPageToken: string): void {
  if (nextPageToken !== "" && !session.json) {
    session.terminal.note("There are more: raise --limit, or use --limit all.");
  }
}

function parseLimit(text: string): number {
  if (text === "all") return Number.MAX_SAFE_INTEGER;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit < 1) throw new InvalidArgumentError("Write a whole number from 1, or all.");
  return limit;
}
