import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RolloutWarning } from "../../gen/ota/v1/rollout_warning_pb.js";
import { cleanText } from "./format.ts";
import { remedyText } from "./remedy-text.ts";
import type { Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** What to know before a rollout starts, for people: beside the output, so that pipes do not read it. */
export function noteWarnings(session: Session, warnings: readonly RolloutWarning[]): void {
  if (session.json || warnings.length === 0) return;
  session.terminal.note(`${renderWarnings(session.terminal, warnings)}\n`);
}

/** The same of a rollout that was just created. What cannot be counted now can be previewed later. */
export async function noteWarningsOf(session: Session, rolloutId: string): Promise<void> {
  if (session.json) return;
  try {
    noteWarnings(session, (await session.call(RolloutService.method.previewRollout, { rolloutId })).warnings);
  } catch (error) {
    session.signal.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    session.terminal.note(`What to know before the start could not be told: ${cleanText(why)}\n`);
  }
}

/** Warnings, one a line, with what mends each. */
function renderWarnings(terminal: Terminal, warnings: readonly RolloutWarning[]): string {
  const lines = warnings.flatMap(({ message, remedies }) => [
    `${terminal.paint("yellow", "!")} ${cleanText(message)}`,
    ...remedies.map((remedy) => terminal.paint("dim", `    ${remedyText(remedy)}`)),
  ]);
  return lines.join("\n");
}
