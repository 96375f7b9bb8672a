import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { devicesText } from "../model/devices-text.ts";
import type { RolloutWarning } from "../model/foresight.ts";
import { refusedSql } from "../model/refused-firmware.ts";
import type { WaitingKind } from "../preview/waiting-devices.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";

/** The firmware that devices of a version would be rolled back to. */
interface Base {
  /** The version as devices report it. */
  readonly text: string;
  readonly id: string;
  readonly version: string;
  readonly released: boolean;
  readonly device_types: readonly string[];
  readonly hardware_models: readonly string[];
  readonly security_counter: number;
  readonly refused: boolean;
}

type Problem = Pick<RolloutWarning, "code" | "subject" | "remedies"> & { readonly words: string };

/**
 * Which of the waiting devices could not be rolled back, version by version and why, by what a rollback would ask: the
 * catalogue has no released firmware of the version that they run, it does not fit them, was rolled back itself, or its
 * security counter lies below the new one's.
 */
export async function rollbackWarnings(
  session: Session,
  rollout: CompiledRollout,
  kinds: readonly WaitingKind[],
): Promise<RolloutWarning[]> {
  const versions = new Set([...new Set(kinds.map(({ version }) => version))].slice(0, maxVersions));
  const bases = await readBases(session, rollout, versions);
  const problems = new Map<string, Problem & { count: number }>();
  for (const kind of kinds) {
    // Of a version that was not looked up nothing is known.
    if (!versions.has(kind.version)) continue;
    const problem = problemOf(rollout, kind, bases.get(kind.version));
    if (problem === undefined) continue;
    const key = `${problem.code} ${problem.subject}`;
    const { count = 0 } = problems.get(key) ?? {};
    problems.set(key, { ...problem, count: count + kind.count });
  }
  const all = [...problems.values()].sort((a, b) => b.count - a.count);
  const told = all.slice(0, maxWarnings).map(toWarning);
  const others = all.slice(maxWarnings);
  if (others.length === 0) return told;
  const count = others.reduce((sum, problem) => sum + problem.count, 0);
  const words = `there is no way back to ${others.length} further versions either`;
  return [...told, toWarning({ code: "ROLLBACK_TARGET_MISSING", subject: "", remedies: [], words, count })];
}

/** The devices of a fleet are of few versions, unless they are of very many. */
const maxWarnings = 10;

/** Versions that are looked up, those first that most devices run. */
const maxVersions = 1_000;

function toWarning({ words, ...problem }: Problem & { readonly count: number }): RolloutWarning {
  return { ...problem, message: `${devicesText(problem.count)} could not be rolled back: ${words}` };
}

async function readBases(
  session: Session,
  { firmware, rollout }: CompiledRollout,
  versions: ReadonlySet<string>,
): Promise<ReadonlyMap<string, Base>> {
  const rows = await session.query<Base>(basesSql, [
    [...versions],
    firmware.product,
    firmware.component,
    rollout.policy.rollbackFirmwareId,
  ]);
  return new Map(rows.map((row) => [row.text, row]));
}

function problemOf(
  rollout: CompiledRollout,
  { deviceType, hardwareModel, version }: WaitingKind,
  base: Base | undefined,
): Problem | undefined {
  if (base === undefined) return missing(rollout, version);
  const { product, component, securityCounter, version: brought } = rollout.firmware;
  const subject = base.version;
  const target = `${product} ${subject}`;
  if (!base.released) {
    return {
      code: "ROLLBACK_TARGET_MISSING",
      subject,
      words: `${target} is in the catalogue, but not released`,
      remedies: [
        {
          action: "RELEASE_FIRMWARE",
          message: `an operator can release ${target}`,
          product,
          version: subject,
          firmwareId: base.id,
        },
      ],
    };
  }
  const fits = base.hardware_models.length === 0 || base.hardware_models.includes(hardwareModel);
  if (!fits || !base.device_types.includes(deviceType)) {
    const words = `${target} of the catalogue is for other types or models`;
    return { code: "ROLLBACK_TARGET_UNFIT", subject, words, remedies: [] };
  }
  if (base.refused) {
    const words = `${target} was itself rolled back`;
    return { code: "ROLLBACK_TARGET_REFUSED", subject, words, remedies: [] };
  }
  if (component === "" && base.security_counter < securityCounter) {
    const words = `the security counter of ${target} is ${base.security_counter}, that of ${brought} is ${securityCounter}, and it never falls`;
    return { code: "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER", subject, words, remedies: [] };
  }
  return undefined;
}

function missing({ firmware: { product, component } }: CompiledRollout, version: string): Problem {
  const code = "ROLLBACK_TARGET_MISSING";
  if (version === "") {
    const words =
      component === "" ? "which version runs there was not told" : `there is no ${component} on it yet`;
    return { code, subject: "", words, remedies: [] };
  }
  const target = `${product} ${version}`;
  return {
    code,
    subject: version,
    words: `${target}, which runs there, is not in the catalogue`,
    remedies: [
      {
        action: "UPLOAD_FIRMWARE",
        message: `an operator can upload and release ${target}`,
        product,
        version,
      },
    ],
  };
}

/** Of the versions $1 of the product $2 and the application $3; $4 is what all are rolled back to, if one is named. */
const basesSql = sql`
  SELECT v.text, f.id, f.version, f.state = 'RELEASED' AND NOT f.is_deleted AS released, f.device_types, f.hardware_models,
    f.security_counter::float8 AS security_counter, coalesce(${refusedSql}, false) AS refused
  FROM unnest($1::text[]) AS v (text)
  JOIN firmware_updates f ON f.component = $3 AND f.id = coalesce($4::uuid, (
    SELECT k.firmware_id FROM firmware_version_keys k
    WHERE k.product = $2 AND k.identity = version_identity(v.text)))`;
