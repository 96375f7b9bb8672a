import type { DescMethodUnary, Message } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";

/**
 * Lets the header `Prefer: wait=N` (RFC 7240, section 4.3) stand for the field `wait` of a request that has one and leaves it unset.
 * It is a wish: what is no time is passed over, and the most that the contract lets anybody wish for takes the place of more.
 */
export function preferWait({ input }: DescMethodUnary, request: Message, prefer: string | undefined): void {
  const field = input.field["wait"];
  if (prefer === undefined || field?.message?.typeName !== DurationSchema.typeName) return;
  const fields = request as unknown as Record<string, Duration | undefined>;
  const seconds = prefer.split(",").flatMap((each) => waitPreference.exec(each)?.[1] ?? [])[0];
  if (seconds === undefined) return;
  fields[field.localName] ??= durationFromMs(Math.min(Number(seconds), mostSeconds) * 1_000);
}

/** The header `Preference-Applied` of an answer whose field `applied_wait` is set: in whole seconds. */
export function appliedPreference({ output }: DescMethodUnary, answer: Message): string | undefined {
  const field = output.field["appliedWait"];
  if (field === undefined) return undefined;
  const applied = (answer as unknown as Record<string, Duration | undefined>)[field.localName];
  return applied && `wait=${Math.round(durationMs(applied) / 1_000)}`;
}

/** One of the preferences of the header, with its parameters. */
const waitPreference = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;|$)/i;

/** As in the contract. */
const mostSeconds = 3_600;
