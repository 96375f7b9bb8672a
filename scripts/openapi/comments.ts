import type { AnyDesc, DescFile } from "@bufbuild/protobuf";
import { getComments } from "@bufbuild/protoplugin";

/** What the contract says of something, as Markdown: its comment without the line breaks within paragraphs. */
export function commentOf(desc: Exclude<AnyDesc, DescFile>): string {
  const { leading, trailing } = getComments(desc);
  const lines = (leading ?? trailing ?? "").split("\n").map((line) => line.replace(/^ /, ""));
  return lines
    .join("\n")
    .replaceAll(/(\S)\n(?=[^\s*-])/g, "$1 ")
    .trim();
}

/** Splits a comment into its first sentence, without the full stop, and what follows. */
export function summaryOf(comment: string): { readonly summary: string; readonly rest: string } {
  const end = /(?<!e\.g|i\.e)\.(?=\s|$)/.exec(comment);
  if (end === null) return { summary: comment, rest: "" };
  return { summary: comment.slice(0, end.index), rest: comment.slice(end.index + 1).trim() };
}

/** Sentences that follow each other; undefined if there are none. */
export function joined(...sentences: readonly string[]): string | undefined {
  const text = sentences.filter((sentence) => sentence !== "").join("\n\n");
  return text === "" ? undefined : text;
}
