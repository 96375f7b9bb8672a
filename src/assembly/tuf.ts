import { TufRepositories } from "../firmware/repository/tuf-repositories.ts";
import type { Access } from "./access.ts";
import type { Foundation } from "./foundation.ts";

/** Opens the TUF metadata of products, and signs anew what ends soon. */
export function openTuf(
  { config, clock, database, background }: Foundation,
  { audit }: Pick<Access, "audit">,
): TufRepositories {
  const repositories = new TufRepositories({ database, audit, clock, lifetimes: config.tuf.lifetimes });
  background.round({
    name: "tuf_metadata",
    everyMs: refreshMs,
    atOnce: true,
    work: (signal) => repositories.refresh(signal),
  });
  return repositories;
}

/** Often enough for the shortest timestamp, which lasts an hour. */
const refreshMs = 300_000;
