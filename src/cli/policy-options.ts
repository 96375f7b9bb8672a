import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import { type Field, type Fields, type Given, isFromSetting, mapFields } from "../policy/field.ts";
import { fieldText } from "../policy/field-text.ts";
import { collectWindows } from "./maintenance-window.ts";
import {
  parseBytes,
  parseChoice,
  parseCount,
  parseDurationMs,
  parseNumber,
  parsePercent,
  parseTime,
} from "./parse.ts";
import { policyWriters } from "./policy-text.ts";

/** Adds the option of each field. */
export function addFieldOptions(command: Command, fields: Fields): void {
  for (const field of Object.values(fields)) command.addOption(optionOf(field));
}

/** What the options say of the fields; nothing of a field whose option was not used. */
export function givenByOptions<F extends Fields>(
  fields: F,
  options: Readonly<Record<string, unknown>>,
): Given<F> {
  return mapFields(fields, (_, field) => options[optionOf(field).attributeName()]) as Given<F>;
}

/** `before` is what a repeatable option has so far. */
type Parser = (text: string, before?: never) => unknown;

function optionOf(field: Field): Option {
  const option = new Option(field.option, helpOf(field));
  const parse = parserOf(field);
  return parse === undefined ? option : option.argParser(parse as (text: string, before: unknown) => unknown);
}

function parserOf(field: Field): Parser | undefined {
  const [least, most] = field.range ?? [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  switch (field.kind) {
    case "percent":
      return parsePercent;
    case "count":
      return parseCount(least, most);
    case "number":
      return parseNumber(least, most);
    case "duration":
      return (text) => Math.round(parseDurationMs(text));
    case "bytes":
      return (text) => Number(parseBytes(text));
    case "time":
      return (text) => timestampDate(parseTime(text));
    case "choice":
      return parseChoice(choicesOf(field));
    case "windows":
      return collectWindows;
    case "flag":
    case "firmware":
      return undefined;
  }
}

/** The help with what may be written and what holds without it, for example `(1 to 1000; default: 3)`. */
function helpOf(field: Field): string {
  const notes = [rangeOf(field), defaultOf(field)].filter((note) => note !== undefined);
  return notes.length === 0 ? field.help : `${field.help} (${notes.join("; ")})`;
}

function rangeOf(field: Field): string | undefined {
  const { kind, range } = field;
  if (kind === "choice") return choicesOf(field).join(", ").toLowerCase();
  return range === undefined || (kind !== "count" && kind !== "number") ? undefined : range.join(" to ");
}

function defaultOf(field: Field): string | undefined {
  const { kind, default: fallback } = field;
  if (isFromSetting(fallback)) return `default: the service's ${fallback.setting}`;
  if (kind === "time") return "default: at once";
  if (kind === "windows") return "default: at any time";
  if (kind === "flag" || kind === "choice" || kind === "firmware") return undefined;
  // Without spaces a length of time is as the option takes it.
  if (fallback === null) return `default: ${field.toldNone ?? "no limit"}`;
  return `default: ${fieldText(field, fallback, policyWriters).replaceAll(" ", "")}`;
}

/** The choices that say something; the first is not to say anything. */
function choicesOf({ choices }: Field): string[] {
  return Object.keys(choices ?? {}).slice(1);
}
