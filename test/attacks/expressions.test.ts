import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type DescMessage, getOption } from "@bufbuild/protobuf";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { type AST, RegExpParser, visitRegExpAST } from "@eslint-community/regexpp";
import { parseSync } from "oxc-parser";
import { analyse } from "scslre";
import { describe, expect, it } from "vitest";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";

/**
 * Regular expressions that take longer than in proportion to their text stop a whole replica with one request. What
 * stands here is a proof by form, which needs no clock: an expression may begin at one place only, or what it repeats
 * without bound stands at its end; and nothing that it repeats can be read in two ways.
 */

const source = join(import.meta.dirname, "../../src");

/** Programs whose texts are written by their own user, or by the service. */
const otherPrograms = /^(?:cli|client|console|agent)\//;

/** Expressions that repeat without bound behind their beginning, and why they are linear all the same. */
const linear: Readonly<Record<string, string>> = {
  '/\\[".*$/s': "what follows matches whatever comes",
  "/\\[\\d+\\]/g": "no text that it repeats holds its beginning",
  '/"[^"\\\\]*(?:\\\\[^][^"\\\\]*)*(?:"|\\\\?$)|(?<![\\d.])-?[A-Za-z]+/g':
    "a string that is not closed ends with the text",
  "/\\{[^}]*\\}|[^/{}]+/g": "reads the contract's own paths, at the start",
  "/(`[^`]+`|https:\\/\\/[^\\s)`]+[^\\s)`.,;:])/": "reads the contract's own comments, once",
  "/\\{(\\w+)\\}/g": "reads the contract's own paths, once",
  "/\\(PostgreSQL\\) (\\d+)/": "reads what a program of ours says",
  "/pre-existing shared memory block|lock file .* already exists/i": "reads what PostgreSQL says",
  '/Traceback \\(most recent call last\\):|^\\s*File ".{1,500}", line \\d|^Fatal Python error: /':
    "the unbounded part is anchored",
  "/\"[^\"]*(?:\"|$)|'[^']*(?:'|$)|`[^`]*(?:`|$)/gs": "what begins always ends, at the latest with the text",
};

const parser = new RegExpParser();

interface Expression {
  readonly file: string;
  readonly text: string;
  readonly literal: AST.RegExpLiteral;
}

function expressionsOf(file: string): Expression[] {
  const found: Expression[] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(visit);
    if (typeof node !== "object" || node === null) return;
    const { regex } = node as { regex?: { pattern: string; flags: string } };
    if (regex === undefined) Object.values(node).forEach(visit);
    else {
      const text = `/${regex.pattern}/${regex.flags}`;
      found.push({ file, text, literal: parser.parseLiteral(text) });
    }
  };
  visit(parseSync(file, readFileSync(join(source, file), "utf8")).program);
  return found;
}

/** The patterns of the contract's own rules, wherever in a field's rules they stand. */
function patternsOf(rules: unknown): string[] {
  if (typeof rules !== "object" || rules === null) return [];
  return Object.entries(rules).flatMap(([name, value]) =>
    name === "pattern" && typeof value === "string" && value !== "" ? [value] : patternsOf(value),
  );
}

function messagesOf(descs: readonly DescMessage[]): DescMessage[] {
  return descs.flatMap((desc) => [desc, ...messagesOf(desc.nestedMessages)]);
}

const contract = new Set(
  contractServices.map(({ file }) => file).flatMap((file) => [file, ...file.dependencies]),
);
const contractExpressions = [...contract]
  .flatMap(({ messages }) => messagesOf(messages))
  .flatMap(({ fields, typeName }) =>
    fields.flatMap((field) =>
      patternsOf(getOption(field, fieldRules)).map((pattern): Expression => {
        const text = `/${new RegExp(pattern, "u").source}/u`;
        return { file: `${typeName}.${field.name}`, text, literal: parser.parseLiteral(text) };
      }),
    ),
  );

const expressions = globSync("**/*.ts", { cwd: source })
  .filter((file) => !file.endsWith(".test.ts") && !otherPrograms.test(file))
  .flatMap(expressionsOf)
  .concat(contractExpressions);

function beginsAtOnePlace({ flags, pattern }: AST.RegExpLiteral): boolean {
  if (flags.sticky) return true;
  if (flags.multiline) return false;
  return pattern.alternatives.every(
    ({ elements: [first] }) => first?.type === "Assertion" && first.kind === "start",
  );
}

/** What an expression repeats without bound before its end. */
function unboundedBeforeEnd(literal: AST.RegExpLiteral): string[] {
  const found: string[] = [];
  visitRegExpAST(literal, {
    onQuantifierEnter(quantifier) {
      const { parent, max, raw } = quantifier;
      const isLast =
        parent.type === "Alternative" &&
        parent.parent.type === "Pattern" &&
        parent.elements.at(-1) === quantifier;
      if (max === Number.POSITIVE_INFINITY && !isLast) found.push(raw);
    },
  });
  return found;
}

describe("expressions of the service", () => {
  it("are found", () => {
    expect(expressions.length).toBeGreaterThan(250);
    expect(contractExpressions.length).toBeGreaterThan(20);
  });

  it("begin at one place, or repeat nothing without bound but at their end", () => {
    const wrong = expressions
      .filter(({ literal }) => !beginsAtOnePlace(literal) && unboundedBeforeEnd(literal).length > 0)
      .map(({ file, text }) => ({ file, text }));
    expect(wrong.filter(({ text }) => !Object.hasOwn(linear, text))).toEqual([]);
    expect(new Set(wrong.map(({ text }) => text))).toEqual(new Set(Object.keys(linear)));
  });

  it("can read nothing that they repeat in two ways", () => {
    const wrong = expressions.flatMap(({ file, text, literal }) =>
      analyse(
        { pattern: literal.pattern, flags: literal.flags },
        { reportTypes: { Move: false } },
      ).reports.map(({ type }) => ({ file, text, type })),
    );
    expect(wrong).toEqual([]);
  });
});

describe("the proof", () => {
  const judged = (text: string) => {
    const literal = parser.parseLiteral(text);
    const { reports } = analyse(
      { pattern: literal.pattern, flags: literal.flags },
      { reportTypes: { Move: false } },
    );
    return reports.length > 0 || (!beginsAtOnePlace(literal) && unboundedBeforeEnd(literal).length > 0);
  };

  it.each([
    "/^bytes=\\s*(\\d*)\\s*-\\s*(\\d*)\\s*$/",
    '/key "(?<key>.*)" is unknown$/s',
    "/^(\\w+\\s?)*$/",
    "/a.*b.*c/",
    "/\\s+$/",
  ])("finds %s", (text) => {
    expect(judged(text)).toBe(true);
  });

  it.each(["/^[a-z]+$/", "/^(?:[^/]+\\/)*$/", "/[a-z]{1,9} \\d+/"])("lets %s pass", (text) => {
    expect(judged(text)).toBe(false);
  });
});
