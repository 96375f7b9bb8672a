import { failureText, isConnectError } from "../ui/failure.tsx";

/** What is wrong in a filter, and where. */
export interface FilterFault {
  /** From 0. */
  readonly at: number;
  /** What was expected, in words. */
  readonly problem: string;
}

/** The fault in a filter that made a call fail; undefined if it failed for another reason. */
export function filterFaultOf(error: unknown): FilterFault | undefined {
  if (!isConnectError(error)) return undefined;
  const { reason, fields, message } = failureText(error);
  if (reason !== "INVALID_FILTER") return undefined;
  const [found] = fields;
  const [, position, problem] = /^at character (\d+): (.+)$/s.exec(found?.description ?? "") ?? [];
  return { at: Number(position ?? 1) - 1, problem: problem ?? message };
}
