import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { play } from "./story.ts";

const folder = join(import.meta.dirname, "stories");
const stories = (await readdir(folder)).filter((name) => name.endsWith(".txt"));

/** `UPDATE_STORIES=1` writes what the planner decides now into the stories, to be read before it is committed. */
const update = process.env["UPDATE_STORIES"] === "1";

describe("what a rollout should do", () => {
  it.each(stories)("is as %s tells", async (name) => {
    const path = join(folder, name);
    const played = play(await readFile(path, "utf8"));
    if (update) await writeFile(path, played);
    expect(await readFile(path, "utf8")).toBe(played);
    expect(played).toContain("  | ");
  });
});
