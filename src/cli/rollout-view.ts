import {
  type DeviceUpdate,
  DeviceUpdateStateSchema,
  type Ring,
  type RingCensus,
  type RingSpec,
  RingState,
  RingStateSchema,
  type Rollout,
  RolloutState,
  RolloutStateSchema,
  UpdateAction,
  UpdateActionSchema,
} from "../../gen/ota/v1/rollout_pb.js";
import type { GetRolloutDefaultsResponse } from "../../gen/ota/v1/rollout_service_pb.js";
import { agoText, bytesText, cleanText, countText, enumText, percentText, timeText } from "./format.ts";
import { pairTexts } from "./parse.ts";
import { gateText, policyFacts } from "./policy-text.ts";
import { remedyText } from "./remedy-text.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { Terminal, Tone } from "./terminal.ts";

/** Whether a rollout has reached a state in which nothing more happens by itself. */
export function isOver(rollout: Rollout): boolean {
  return (
    rollout.state === RolloutState.COMPLETED ||
    rollout.state === RolloutState.ROLLED_BACK ||
    rollout.state === RolloutState.ABORTED
  );
}

/** A rollout in full: what it brings, to whom, how, and how each ring fares. */
export function renderRollout(terminal: Terminal, rollout: Rollout, nowMs: number): string {
  const { targeting, policy, rollback } = rollout;
  const facts = renderFacts(terminal, [
    ["rollout", rollout.id],
    ["name", cleanText(rollout.name)],
    ["firmware", `${cleanText(rollout.product)} ${cleanText(rollout.version)} (${rollout.firmwareId})`],
    ["state", stateText(terminal, rollout)],
    ["why", rollout.stateReason === "" ? undefined : cleanText(rollout.stateReason)],
    ["alert", rollout.alert === "" ? undefined : cleanText(rollout.alert)],
    ...rollout.remedies.map((remedy): [string, string] => ["what helps", remedyText(remedy)]),
    [
      "awaits",
      rollout.awaitingApprovalRing === ""
        ? undefined
        : `an approval of ring ${cleanText(rollout.awaitingApprovalRing)}`,
    ],
    [
      "leads away from",
      rollout.recalledVersion === "" ? undefined : `${cleanText(rollout.recalledVersion)}, which is recalled`,
    ],
    ["reaches", targetingText(targeting)],
    ...policyFacts(policy),
    [
      "started",
      rollout.startTime === undefined
        ? undefined
        : `${timeText(rollout.startTime)} (${agoText(rollout.startTime, nowMs)})`,
    ],
    ["ended", rollout.endTime === undefined ? undefined : timeText(rollout.endTime)],
    ["archived", rollout.archiveTime === undefined ? undefined : timeText(rollout.archiveTime)],
    ["metadata", metadataText(rollout)],
    [
      "rolled back",
      rollback === undefined || rollback.total === 0n
        ? undefined
        : `${rollback.completed} of ${countText(rollback.total, "device")}, ${rollback.inProgress} in progress, ${rollback.waiting} at another component first, ${rollback.failed} failed, ${rollback.blocked} of them must not, ${rollback.away} are away`,
    ],
  ]);
  return `${facts}\n\n${renderRings(terminal, rollout.rings)}`;
}

/** What holds for a new rollout where it says nothing. */
export function renderDefaults(terminal: Terminal, { policy, rings }: GetRolloutDefaultsResponse): string {
  const facts = renderFacts(terminal, policyFacts(policy, "all"));
  const columns: Column<RingSpec>[] = [
    { title: "ring", text: ({ name }) => cleanText(name) },
    { title: "share", text: ({ percent }) => percentText(percent), align: "right" },
    { title: "passes with", text: ({ gate }) => gateText(gate) },
  ];
  return `${facts}\n\n${renderTable(terminal, columns, rings)}`;
}

/** The rings of a rollout with their counters. */
function renderRings(terminal: Terminal, rings: readonly Ring[]): string {
  const columns: Column<Ring>[] = [
    { title: "ring", text: ({ name }) => cleanText(name) },
    { title: "share", text: reachText, align: "right" },
    { title: "devices", text: ({ census }) => String(census?.devices ?? "-"), align: "right" },
    { title: "to ask", text: ({ census }) => awaitedText(census) },
    { title: "state", text: (ring) => ringStateText(terminal, ring) },
    { title: "progress", text: (ring) => ringBar(terminal, ring, 20) },
    { title: "offered", text: ({ counters }) => String(counters?.offered ?? 0n), align: "right" },
    { title: "ok", text: ({ counters }) => String(counters?.succeeded ?? 0n), align: "right" },
    { title: "failed", text: ({ counters }) => String(counters?.failed ?? 0n), align: "right" },
    { title: "missing", text: ({ counters }) => String(counters?.missing ?? 0n), align: "right" },
    { title: "drifted", text: ({ counters }) => String(counters?.drifted ?? 0n), align: "right" },
    { title: "began", text: ({ counters }) => String(counters?.began ?? 0n), align: "right" },
    { title: "in progress", text: ({ counters }) => String(counters?.inProgress ?? 0n), align: "right" },
    { title: "back", text: ({ counters }) => String(counters?.rolledBack ?? 0n), align: "right" },
    { title: "gate", text: ({ gateStatus }) => (gateStatus === "" ? "-" : cleanText(gateStatus)) },
  ];
  return renderTable(terminal, columns, rings);
}

/** Rollouts, one a line. */
export function renderRollouts(terminal: Terminal, rollouts: readonly Rollout[], nowMs: number): string {
  const columns: Column<Rollout>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "firmware", text: ({ product, version }) => `${cleanText(product)} ${cleanText(version)}` },
    {
      title: "state",
      text: (rollout) =>
        `${stateText(terminal, rollout)}${rollout.archiveTime === undefined ? "" : ", archived"}`,
    },
    { title: "ring", text: ({ rings }) => cleanText(rings.findLast(isOpen)?.name ?? "-") },
    { title: "ok", text: ({ rings }) => sum(rings, "succeeded"), align: "right" },
    { title: "failed", text: ({ rings }) => sum(rings, "failed"), align: "right" },
    { title: "offered", text: ({ rings }) => sum(rings, "offered"), align: "right" },
    { title: "changed", text: ({ updateTime }) => agoText(updateTime, nowMs) },
  ];
  return renderTable(terminal, columns, rollouts);
}

/** The devices that a rollout touched, one update a line. */
export function renderDeviceUpdates(
  terminal: Terminal,
  updates: readonly DeviceUpdate[],
  nowMs: number,
): string {
  const columns: Column<DeviceUpdate>[] = [
    { title: "device", text: (update) => update.deviceId },
    {
      title: "action",
      text: ({ action }) =>
        action === UpdateAction.INSTALL ? "install" : enumText(UpdateActionSchema, action),
    },
    { title: "state", text: ({ state }) => enumText(DeviceUpdateStateSchema, state) },
    { title: "ring", text: ({ ring }) => cleanText(ring) },
    { title: "from", text: ({ fromVersion }) => cleanText(fromVersion) },
    { title: "to", text: ({ toVersion }) => cleanText(toVersion) },
    { title: "downloaded", text: ({ downloadedBytes }) => bytesText(downloadedBytes), align: "right" },
    { title: "changed", text: ({ updateTime }) => agoText(updateTime, nowMs) },
    {
      title: "why",
      text: (update) => failureOf(update) || silenceOf(update, nowMs) || driftOf(update, nowMs),
    },
    ...(updates.some(({ metadata }) => Object.keys(metadata).length > 0)
      ? [
          {
            title: "metadata",
            text: ({ metadata }: DeviceUpdate) => cleanText(pairTexts(metadata).join(", ")),
          },
        ]
      : []),
  ];
  return renderTable(terminal, columns, updates);
}

/** A rollout in one line, for logs and pipes. */
export function rolloutLine(rollout: Rollout): string {
  const rings = rollout.rings
    .filter(({ state }) => state !== RingState.WAITING)
    .map(({ name, counters }) => {
      const { failed = 0n, missing = 0n } = counters ?? {};
      const unwell = [failed > 0n ? `${failed} failed` : "", missing > 0n ? `${missing} missing` : ""];
      const words = unwell.filter((text) => text !== "").join(", ");
      return `${cleanText(name)} ${counters?.succeeded ?? 0n}/${counters?.offered ?? 0n}${words === "" ? "" : ` (${words})`}`;
    });
  const { rollback } = rollout;
  const back =
    rollback === undefined || rollback.total === 0n
      ? []
      : [`rolled back ${rollback.completed}/${rollback.total}`];
  return [
    `${rollout.product} ${rollout.version} ${enumText(RolloutStateSchema, rollout.state)}`,
    ...rings,
    ...back,
  ]
    .map(cleanText)
    .join(" · ");
}

/** A rollout as lines that are redrawn in place. */
export function rolloutLines(terminal: Terminal, rollout: Rollout): string[] {
  const title = `${terminal.paint("bold", `${cleanText(rollout.product)} ${cleanText(rollout.version)}`)}  ${stateText(terminal, rollout)}`;
  const nameWidth = Math.max(...rollout.rings.map(({ name }) => cleanText(name).length));
  const rings = rollout.rings.map((ring) => ringLine(terminal, ring, nameWidth));
  const { rollback } = rollout;
  const back =
    rollback === undefined || rollback.total === 0n
      ? []
      : [
          `  ${"rolled back".padEnd(nameWidth + 8)} ${bar(terminal, "cyan", ratio(rollback.completed, rollback.total), 28)} ${rollback.completed} of ${countText(rollback.total, "device")}`,
        ];
  const why =
    rollout.stateReason === "" ? [] : [terminal.paint("dim", `  ${cleanText(rollout.stateReason)}`)];
  return [title, ...rings, ...back, ...why];
}

/** A bar of `width` characters, filled to `share` (0 to 1). */
export function bar(terminal: Terminal, tone: Tone, share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `${terminal.paint(tone, "█".repeat(filled))}${terminal.paint("dim", "░".repeat(width - filled))}`;
}

/** Part of whole, 0 of nothing. */
export function ratio(part: bigint | number, whole: bigint | number): number {
  return Number(whole) === 0 ? 0 : Number(part) / Number(whole);
}

/** The rollout's state in words and colour. */
function stateText(terminal: Terminal, rollout: Rollout): string {
  return terminal.paint(STATE_TONES[rollout.state] ?? "bold", enumText(RolloutStateSchema, rollout.state));
}

/** What a ring reaches with those before it: a share, or the devices that it was asked to hold. */
function reachText({ devices, percent }: Ring): string {
  return devices > 0 ? countText(devices, "device") : percentText(percent);
}

function ringLine(terminal: Terminal, ring: Ring, nameWidth: number): string {
  const { counters } = ring;
  const head = `  ${cleanText(ring.name).padEnd(nameWidth)} ${reachText(ring).padStart(7)} ${ringBar(terminal, ring, 28)}`;
  if (counters === undefined || counters.offered === 0n) return `${head} ${ringStateText(terminal, ring)}`;
  const numbers = [
    `${counters.succeeded} of ${countText(counters.offered, "device")} proven`,
    counters.failed > 0n ? terminal.paint("red", `${counters.failed} failed`) : "",
    counters.missing > 0n ? terminal.paint("yellow", `${counters.missing} missing`) : "",
    counters.drifted > 0n ? terminal.paint("yellow", `${counters.drifted} drifted`) : "",
    counters.rolledBack > 0n ? `${counters.rolledBack} called back` : "",
    counters.cancelled > 0n ? `${counters.cancelled} cancelled` : "",
    ringStateText(terminal, ring),
  ];
  return `${head} ${numbers.filter((text) => text !== "").join(" · ")}`;
}

/** Green for what was proven, red for what failed or is missing, of the devices that were offered the update. */
function ringBar(terminal: Terminal, ring: Ring, width: number): string {
  const { counters } = ring;
  const offered = counters?.offered ?? 0n;
  const good = Math.round(ratio(counters?.succeeded ?? 0n, offered) * width);
  const unwell = (counters?.failed ?? 0n) + (counters?.missing ?? 0n);
  const bad = Math.min(width - good, Math.ceil(ratio(unwell, offered) * width));
  return [
    terminal.paint("green", "█".repeat(good)),
    terminal.paint("red", "▓".repeat(bad)),
    terminal.paint("dim", "░".repeat(width - good - bad)),
  ].join("");
}

/** Those that wait for the update, with how many of them cannot have it now. */
function awaitedText(census: RingCensus | undefined): string {
  if (census === undefined) return "-";
  const { awaited, heldBack, gone } = census;
  const held = heldBack > 0n ? [`${heldBack} held back`] : [];
  const parts = [...held, ...(gone > 0n ? [`${gone} gone`] : [])];
  return parts.length === 0 ? String(awaited) : `${awaited} (${parts.join(", ")})`;
}

function ringStateText(terminal: Terminal, ring: Ring): string {
  return terminal.paint(RING_TONES[ring.state] ?? "bold", enumText(RingStateSchema, ring.state));
}

/** The keys of integrations, a ring's with its name. */
function metadataText({ metadata, rings }: Rollout): string | undefined {
  const all = [
    ...pairTexts(metadata),
    ...rings.flatMap((ring) => pairTexts(ring.metadata).map((pair) => `${ring.name}: ${pair}`)),
  ];
  return all.length === 0 ? undefined : cleanText(all.join(", "));
}

function targetingText(targeting: Rollout["targeting"]): string {
  const rules = [
    ["device types", targeting?.deviceTypes.join(", ")],
    ["models", targeting?.hardwareModels.join(", ")],
    ["groups", targeting?.groups.join(", ")],
    ["from versions", targeting?.currentVersionRange],
  ].filter(([, value]) => value !== undefined && value !== "");
  if (rules.length === 0) return "every device that the firmware fits";
  return cleanText(rules.map(([name, value]) => `${name}: ${value}`).join("; "));
}

function failureOf(update: DeviceUpdate): string {
  if (update.failureReason === "") return "";
  const message = update.failureMessage === "" ? "" : `: ${update.failureMessage}`;
  const text = cleanText(`${update.failureReason}${message}`);
  return text.length > MAX_REASON_LENGTH ? `${text.slice(0, MAX_REASON_LENGTH - 1)}…` : text;
}

/** That a device began to install and is not heard, in words. */
function silenceOf({ missingSinceTime, endTime }: DeviceUpdate, nowMs: number): string {
  if (missingSinceTime === undefined || endTime !== undefined) return "";
  return `missing: not heard again once it began to install; noticed ${agoText(missingSinceTime, nowMs)}`;
}

/** That a device fell back after it succeeded, in words. */
function driftOf({ driftTime, driftVersion, retryTime }: DeviceUpdate, nowMs: number): string {
  if (driftTime === undefined) return "";
  const after = retryTime === undefined ? "" : "; it was offered again";
  return `drifted: it ran ${cleanText(driftVersion)} again by itself; noticed ${agoText(driftTime, nowMs)}${after}`;
}

/** Longer reasons would push a line past any terminal; `--json` has them whole. */
const MAX_REASON_LENGTH = 72;

function isOpen({ state }: Ring): boolean {
  return state !== RingState.WAITING;
}

function sum(rings: readonly Ring[], counter: "offered" | "succeeded" | "failed"): string {
  return String(rings.reduce((total, { counters }) => total + (counters?.[counter] ?? 0n), 0n));
}

const STATE_TONES: Readonly<Partial<Record<RolloutState, Tone>>> = {
  [RolloutState.AWAITING_APPROVAL]: "yellow",
  [RolloutState.SCHEDULED]: "cyan",
  [RolloutState.RUNNING]: "cyan",
  [RolloutState.PAUSED]: "yellow",
  [RolloutState.ROLLING_BACK]: "red",
  [RolloutState.ROLLED_BACK]: "yellow",
  [RolloutState.COMPLETED]: "green",
  [RolloutState.ABORTED]: "red",
};

const RING_TONES: Readonly<Partial<Record<RingState, Tone>>> = {
  [RingState.WAITING]: "dim",
  [RingState.OPEN]: "cyan",
  [RingState.PASSED]: "green",
  [RingState.FAILED]: "red",
};
