import { open } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { type AuditPlace, AuditPlaceSchema } from "../../gen/ota/v1/access_pb.js";
import { CliError, exitCodes } from "./failure.ts";

/**
 * The newest places of the audit log's chain that a service's log tells, oldest first: as many as one call takes. Of each
 * line what stands before the first brace does not count, and what Docker (`log`) or journald (`MESSAGE`) put around it is
 * taken off; every other line is passed over.
 */
export async function readAnchors(path: string): Promise<AuditPlace[]> {
  await using file = await open(path);
  const places: AuditPlace[] = [];
  for await (const line of file.readLines()) {
    if (!line.includes(anchorEvent)) continue;
    const place = placeIn(line);
    if (place === undefined) continue;
    places.push(place);
    if (places.length > mostAnchors) places.shift();
  }
  if (places.length > 0) return places;
  throw new CliError(
    exitCodes.usage,
    `there is no ${anchorEvent} in ${path}`,
    "It takes the log as the service writes it, one JSON object a line, also wrapped by Docker or journald; coloured lines for a terminal are none.",
  );
}

/** A place of the chain as `sequence:hash`; undefined if the text is none. */
export function placeOf(text: string): AuditPlace | undefined {
  const [, sequence, hash] = /^([1-9]\d{0,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (sequence === undefined || hash === undefined) return undefined;
  return create(AuditPlaceSchema, { sequence: BigInt(sequence), hash });
}

/** As many as a call takes; newer ones say more. */
const mostAnchors = 1_000;

const anchorEvent = "audit.anchor";

function placeIn(line: string): AuditPlace | undefined {
  const { event, sequence, hash, log, MESSAGE: message } = recordIn(line);
  if (event === anchorEvent) return placeOf(`${String(sequence)}:${String(hash)}`);
  const wrapped = log ?? message;
  return typeof wrapped === "string" ? placeIn(wrapped) : undefined;
}

function recordIn(line: string): Readonly<Record<string, unknown>> {
  const start = line.indexOf("{");
  if (start === -1) return {};
  try {
    return JSON.parse(line.slice(start)) as Record<string, unknown>;
  } catch {
    return {};
  }
}
