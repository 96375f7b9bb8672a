import { Progress, Text } from "@mantine/core";
import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { count, counted } from "../ui/format.ts";
import { Section } from "../ui/section.tsx";
import { toneColor } from "../ui/status.tsx";

/** How rolling the update back goes. */
export function RollbackPanel({ rollout }: { readonly rollout: Rollout }) {
  const {
    total = 0n,
    completed = 0n,
    inProgress = 0n,
    failed = 0n,
    blocked = 0n,
    waiting = 0n,
  } = rollout.rollback ?? {};
  const share = (value: bigint) => (100 * Number(value)) / Math.max(Number(total), 1);
  return (
    <Section
      title="Rolling it back"
      description="A device is back when its heartbeats show the version that it came from."
    >
      <Progress.Root size="lg" aria-hidden>
        <Progress.Section value={share(completed)} color={toneColor("good")} withAria={false} />
        <Progress.Section value={share(inProgress)} color={toneColor("busy")} withAria={false} />
        <Progress.Section value={share(failed)} color={toneColor("bad")} withAria={false} />
      </Progress.Root>
      <Text size="sm" mt="xs" className="numbers" role="status">
        {total === 0n
          ? "No device had installed it, so none has to be rolled back."
          : `${count(completed)} of ${counted(total, "device")} back · ${count(inProgress)} on the way · ${count(failed)} could not be rolled back`}
        {waiting > 0n && ` · ${count(waiting)} at another component's update first`}
        {blocked > 0n &&
          ` (${count(blocked)} of them must not be: security counter, or no version to go back to)`}
      </Text>
    </Section>
  );
}
