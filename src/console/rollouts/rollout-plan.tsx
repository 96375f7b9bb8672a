import { HealthAction, type MaintenanceWindow, type Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { bytes, count, duration, percent } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { Time } from "../ui/time.tsx";
import { who } from "./rollout-timeline.tsx";

/** Whom a rollout reaches and how it proceeds, as it was created. */
export function RolloutPlan({ rollout }: { readonly rollout: Rollout }) {
  const { targeting, policy } = rollout;
  return (
    <Section title="Plan">
      <Facts
        facts={[
          ["Device types", list(targeting?.deviceTypes) ?? "all that the firmware is for"],
          ["Hardware models", list(targeting?.hardwareModels) ?? "all that the firmware runs on"],
          ["Groups", list(targeting?.groups)],
          ["Tags", list(targeting?.tags)],
          ["Not in", list(targeting?.excludedGroups)],
          ["First of all", list(targeting?.canaryGroups)],
          ["Versions", targeting?.currentVersionRange || undefined],
          ["Filter", targeting?.filter || undefined],
          ["Share", targeting?.percent === undefined ? undefined : percent(targeting.percent)],
          [
            "Stops at",
            policy?.failureThresholdPercent === undefined
              ? undefined
              : `over ${percent(policy.failureThresholdPercent)} failed of at least ${count(policy.failureMinSample ?? 5)} finished`,
          ],
          [
            "Or at",
            policy?.failureCountLimit === undefined
              ? undefined
              : `${count(policy.failureCountLimit)} failed in a ring`,
          ],
          [
            "In a smaller ring",
            "judged once nobody is at it and its soak time is over, if at least two failed",
          ],
          ["Then", policy?.pauseOnFailure === true ? "it pauses" : "it rolls back by itself"],
          ["Watched for", duration(policy?.verificationDuration)],
          [
            "Crash loop",
            policy?.crashLimit === undefined ? undefined : `${policy.crashLimit} crashes while watched`,
          ],
          ["A device may take", duration(policy?.deviceTimeout)],
          [
            "At once",
            policy?.maxInProgress === undefined ? undefined : `at most ${count(policy.maxInProgress)}`,
          ],
          [
            "A minute",
            policy?.offersPerMinute === undefined
              ? undefined
              : `at most ${count(policy.offersPerMinute)} offers`,
          ],
          ["Starts", policy?.startTime && <Time key="s" at={policy.startTime} />],
          ["Retries", policy?.maxRetries === undefined ? undefined : String(policy.maxRetries)],
          [
            "On metered networks",
            policy?.maxMeteredBytes === undefined ? undefined : `only up to ${bytes(policy.maxMeteredBytes)}`,
          ],
          [
            "Free storage",
            policy?.storageFactor === undefined
              ? undefined
              : policy.storageFactor === 0
                ? "any"
                : `${policy.storageFactor} times the content`,
          ],
          ["Consent", policy?.requireUserConsent === true ? "of the device's user" : undefined],
          ["Downgrade", policy?.allowDowngrade === true ? "allowed" : undefined],
          ["Windows", policy && windowsText(policy.maintenanceWindows)],
          ["Priority", policy === undefined || policy.priority === 0 ? undefined : String(policy.priority)],
          [
            "Goes back to",
            policy === undefined || policy.rollbackFirmwareId === "" ? undefined : (
              <Link key="b" to="/firmware/$firmwareId" params={{ firmwareId: policy.rollbackFirmwareId }}>
                this firmware
              </Link>
            ),
          ],
          ["Health worse", policy && healthActions[policy.onWorseHealth]],
          [
            "False alarm",
            policy?.healthAlpha === undefined ? undefined : `a chance of ${policy.healthAlpha}`,
          ],
          ["Created by", rollout.creator === "" ? undefined : who(rollout.creator)],
          ["Created", <Time key="c" at={rollout.createTime} />],
          ["Started", rollout.startTime && <Time key="st" at={rollout.startTime} />],
          ["Ended", rollout.endTime && <Time key="e" at={rollout.endTime} />],
          ["Id", <CopyText key="i" text={rollout.id} />],
        ]}
      />
    </Section>
  );
}

const healthActions: Readonly<Record<HealthAction, string>> = {
  [HealthAction.UNSPECIFIED]: "as after too many failures",
  [HealthAction.NONE]: "is only told",
  [HealthAction.PAUSE]: "pauses it",
  [HealthAction.ROLLBACK]: "rolls it back",
};

/** `Sat, Sun at 02:00 for 3 h (Europe/Berlin)`. */
function windowsText(windows: readonly MaintenanceWindow[]): string | undefined {
  if (windows.length === 0) return undefined;
  return windows
    .map(({ weekdays, start, duration: lasts, timeZone }) => {
      const days = weekdays.length === 0 ? "daily" : weekdays.map((day) => dayNames[day - 1]).join(", ");
      return `${days} at ${start} for ${duration(lasts)} (${timeZone || "UTC"})`;
    })
    .join("; ");
}

const dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

function list(values: readonly string[] | undefined): string | undefined {
  return values === undefined || values.length === 0 ? undefined : values.join(", ");
}
