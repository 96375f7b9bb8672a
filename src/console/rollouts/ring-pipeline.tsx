import { Group, Progress, Stack, Text, Tooltip } from "@mantine/core";
import { IconCheck, IconChevronRight, IconCircleDashed, IconX } from "@tabler/icons-react";
import { Fragment } from "react";
import {
  type GateCheck,
  type Ring,
  type RingCensus,
  type RingGate,
  RingState,
  type Rollout,
} from "../../../gen/ota/v1/rollout_pb.js";
import { tellFields } from "../../policy/field-text.ts";
import { gateFields } from "../../policy/gate-fields.ts";
import { fromGateMessage, gateFieldOfRule } from "../../policy/policy-messages.ts";
import { actorName } from "../ui/actor-name.ts";
import { count } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Status, type Tone, toneColor } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { policyWriters } from "../words/policy-words.ts";
import { ringReach, ringStates } from "../words/rollout-words.ts";
import classes from "./ring-pipeline.module.css";
import { RollbackRing } from "./rollback-ring.tsx";

/** The rings from left to right (on a phone from top to bottom), with counters and gates. */
export function RingPipeline({ rollout }: { readonly rollout: Rollout }) {
  return (
    <ol className={classes["pipeline"]}>
      {rollout.rings.map((ring, index) => (
        <Fragment key={ring.name}>
          {index > 0 && (
            <li aria-hidden className={classes["arrow"]}>
              <IconChevronRight size={20} stroke={1.5} />
            </li>
          )}
          <li className={classes["ring"]} data-state={ringStates[ring.state].tone}>
            <RingCard rollout={rollout} ring={ring} isLast={index === rollout.rings.length - 1} />
          </li>
        </Fragment>
      ))}
    </ol>
  );
}

interface RingCardProps {
  readonly rollout: Rollout;
  readonly ring: Ring;
  readonly isLast: boolean;
}

function RingCard({ rollout, ring, isLast }: RingCardProps) {
  return (
    <Stack gap="xs" h="100%">
      <Group justify="space-between" wrap="nowrap" gap="xs">
        <Text fw={600} truncate>
          {ring.name}
        </Text>
        <Status {...ringStates[ring.state]} />
      </Group>
      <Text size="xs" c="dimmed">
        up to {ringReach(ring)}
        {ring.census !== undefined && ` · ${count(ring.census.devices)} in it`}
        {ring.openTime !== undefined && (
          <>
            {" "}
            · opened <TimeAgo at={ring.openTime} />
          </>
        )}
      </Text>
      <Counters rollout={rollout} ring={ring} />
      {ring.census !== undefined && ring.census.awaited > 0n && <StillToAsk census={ring.census} />}
      <RollbackRing rollout={rollout} ring={ring} />
      <Gate ring={ring} isLast={isLast} />
    </Stack>
  );
}

function Counters({ rollout, ring }: Omit<RingCardProps, "isLast">) {
  const { counters } = ring;
  // Those that are missing are in progress as well, and those that drifted succeeded; here each device is in one place.
  const missing = counters?.missing ?? 0n;
  const drifted = counters?.drifted ?? 0n;
  const values = [
    ["succeeded", "good", (counters?.succeeded ?? 0n) - drifted, "succeeded"],
    ["drifted", "warn", drifted, "drifted"],
    ["failed", "bad", counters?.failed ?? 0n, "failed"],
    ["missing", "bad", missing, "missing"],
    ["in progress", "busy", (counters?.inProgress ?? 0n) - missing, "busy"],
    ["rolled back", "warn", counters?.rolledBack ?? 0n, "called-off"],
    ["cancelled", "idle", counters?.cancelled ?? 0n, "called-off"],
  ] as const;
  const offered = Number(counters?.offered ?? 0n);
  return (
    <div>
      <Progress.Root size={8} aria-hidden>
        {values.map(([name, tone, value]) => (
          <Progress.Section
            key={name}
            value={(100 * Number(value)) / Math.max(offered, 1)}
            color={toneColor(tone)}
            withAria={false}
          />
        ))}
      </Progress.Root>
      <dl className={classes["counters"]}>
        <Counter name="offered" value={BigInt(offered)} tone={undefined} />
        {values
          .filter(([name, , value]) => value > 0n || always.has(name))
          .map(([name, tone, value, devices]) => (
            <Counter
              key={name}
              name={name}
              tone={tone}
              value={value}
              link={
                value > 0n ? (
                  <Link
                    to="/rollouts/$rolloutId"
                    params={{ rolloutId: rollout.id }}
                    search={{ devices, ring: ring.name }}
                    hash="devices"
                  >
                    {count(value)}
                  </Link>
                ) : undefined
              }
            />
          ))}
      </dl>
    </div>
  );
}

/** Whether those who still have to ask for the update can. */
function StillToAsk({ census }: { readonly census: RingCensus }) {
  const parts = [
    [census.reachable, "can be reached"],
    [census.heldBack, "held back now"],
    [census.gone, "gone (offline or never heard of)"],
  ] as const;
  return (
    <Text size="xs">
      {count(census.awaited)} still to ask for it:{" "}
      {parts
        .filter(([devices]) => devices > 0n)
        .map(([devices, words]) => `${count(devices)} ${words}`)
        .join(", ")}
    </Text>
  );
}

const always = new Set(["succeeded", "failed", "in progress"]);

interface CounterProps {
  readonly name: string;
  readonly value: bigint;
  readonly tone: Tone | undefined;
  readonly link?: React.ReactNode;
}

function Counter({ name, value, tone, link }: CounterProps) {
  return (
    <div>
      <dt>
        {tone !== undefined && (
          <span className={classes["dot"]} style={{ background: toneColor(tone) }} aria-hidden />
        )}
        {name}
      </dt>
      <dd className="numbers">{link ?? count(value)}</dd>
    </div>
  );
}

function Gate({ ring, isLast }: { readonly ring: Ring; readonly isLast: boolean }) {
  const { state, gate, gateChecks, gateStatus, passTime, approver, approveTime } = ring;
  return (
    <div className={classes["gate"]}>
      <Text size="xs" fw={600} mb={2}>
        {isLast ? "To complete" : "Gate to the next ring"}
      </Text>
      {state === RingState.PASSED ? (
        <Text size="xs">
          Passed <TimeAgo at={passTime} />
        </Text>
      ) : gateChecks.length > 0 && state === RingState.OPEN ? (
        <Stack gap={2}>
          {gateChecks.map((check) => (
            <GateLine key={check.rule} check={check} />
          ))}
        </Stack>
      ) : (
        <Text size="xs">
          {state === RingState.WAITING || gateStatus === "" ? gateRules(gate) : gateStatus}
        </Text>
      )}
      {approver !== "" && (
        <Text size="xs" c="dimmed">
          Approved by {actorName(approver)} <TimeAgo at={approveTime} />
        </Text>
      )}
    </div>
  );
}

function GateLine({ check }: { readonly check: GateCheck }) {
  const { rule, holds, required, actual, message } = check;
  const Icon = holds
    ? IconCheck
    : rule === "manual"
      ? IconCircleDashed
      : isHopeless(check)
        ? IconX
        : IconCircleDashed;
  return (
    <Tooltip label={message || "This holds."} multiline maw={320} withArrow>
      <Group gap={6} wrap="nowrap" align="flex-start">
        <Icon
          size={14}
          stroke={2}
          style={{ flex: "none", marginTop: 2 }}
          color={toneColor(holds ? "good" : "warn")}
          aria-label={holds ? "holds" : "missing"}
          role="img"
        />
        <Text size="xs">
          {gateFieldOfRule(rule)?.told[0] ?? rule}: {actual || "—"}
          {required !== "" && (
            <Text span inherit c="dimmed">
              {" "}
              of {required}
            </Text>
          )}
        </Text>
      </Group>
    </Tooltip>
  );
}

function isHopeless({ rule, holds }: GateCheck): boolean {
  return !holds && rule === "min_success_percent";
}

/** What will be asked for once the ring is open. */
function gateRules(gate: RingGate | undefined): string {
  if (gate === undefined) return "—";
  return tellFields(gateFields, fromGateMessage(gate), policyWriters)
    .map(({ words }) => words)
    .join(", ");
}
