import type { Command } from "commander";
import { DeviceUpdateSchema } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { collectList, collectPairs } from "./parse.ts";
import { deviceId, rolloutId, rolloutReference } from "./references.ts";
import { printRollout } from "./rollout-output.ts";
import { renderDeviceUpdates } from "./rollout-view.ts";
import { type Cli, type Session, withSession } from "./session.ts";

/** `rollout archive`, `unarchive`, `update` and `label`: how rollouts and device updates are kept. */
export function addRecordCommands(rollout: Command, cli: Cli): void {
  rollout
    .command("archive")
    .argument("<rollout>", rolloutReference)
    .description("Put a rollout that is over away, with its rings and device updates")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, { reason = "" }: { reason?: string }) => {
        const request = { id: await rolloutId(session, reference), reason };
        const answer = await session.call(RolloutService.method.archiveRollout, request);
        printRollout(session, answer.rollout, answer.unchanged);
      }),
    );
  rollout
    .command("unarchive")
    .argument("<rollout>", "the rollout: its id, as `rollout list --archived` shows it")
    .description("Take a rollout out of the archive, as it was")
    .option("--reason <text>", "why, for the audit log")
    .action(
      withSession(cli, async (session, reference: string, { reason = "" }: { reason?: string }) => {
        const request = { id: await rolloutId(session, reference), reason };
        const answer = await session.call(RolloutService.method.unarchiveRollout, request);
        printRollout(session, answer.rollout, answer.unchanged);
      }),
    );

  addMetadataOptions(
    rollout
      .command("update")
      .argument("<rollout>", rolloutReference)
      .description("Change a rollout's name, or the keys that an integration keeps with it or a ring")
      .option("--name <name>", "a new name for people")
      .option("--ring <ring>", "the keys are this ring's, not the rollout's"),
  ).action(withSession(cli, updateRollout));

  addMetadataOptions(
    rollout
      .command("label")
      .argument("<rollout>", rolloutReference)
      .argument("<device>", "the device: its id or serial number")
      .description("Change the keys that an integration keeps with a device's newest update in a rollout"),
  ).action(withSession(cli, labelDeviceUpdate));
}

interface MetadataOptions {
  readonly metadata?: Record<string, string>;
  readonly removeMetadata?: string[];
}

function addMetadataOptions(command: Command): Command {
  return command
    .option("--metadata <name=value>", "set a key; repeatable", collectPairs)
    .option("--remove-metadata <names>", "take these keys away", collectList);
}

/** What is there with the options applied. */
function changed(
  before: Readonly<Record<string, string>>,
  { metadata = {}, removeMetadata = [] }: MetadataOptions,
): { entries: Record<string, string> } {
  const kept = Object.entries(before).filter(([name]) => !removeMetadata.includes(name));
  return { entries: { ...Object.fromEntries(kept), ...metadata } };
}

function changesMetadata({ metadata, removeMetadata }: MetadataOptions): boolean {
  return metadata !== undefined || removeMetadata !== undefined;
}

async function updateRollout(
  session: Session,
  reference: string,
  options: MetadataOptions & { readonly name?: string; readonly ring?: string },
): Promise<void> {
  const { method } = RolloutService;
  const id = await rolloutId(session, reference);
  const { rollout } = await session.call(method.getRollout, { id });
  const rings = rollout?.rings ?? [];
  const ring = rings.find(({ name }) => name === options.ring);
  if (options.ring !== undefined && ring === undefined) {
    const names = rings.map(({ name }) => name).join(", ");
    throw new CliError(exitCodes.usage, `there is no ring ${options.ring}; the rollout has ${names}`);
  }
  const change = changed((ring ?? rollout)?.metadata ?? {}, options);
  const answer = await session.call(method.updateRollout, {
    id,
    // What another one sets in between must not be lost.
    etag: rollout?.etag ?? "",
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(!changesMetadata(options) || ring !== undefined ? {} : { metadata: change }),
    ...(!changesMetadata(options) || ring === undefined
      ? {}
      : { rings: [{ name: ring.name, metadata: change }] }),
  });
  printRollout(session, answer.rollout, answer.unchanged);
}

async function labelDeviceUpdate(
  session: Session,
  reference: string,
  device: string,
  options: MetadataOptions,
): Promise<void> {
  const { method } = RolloutService;
  const of = { rolloutId: await rolloutId(session, reference), deviceId: await deviceId(session, device) };
  const [newest] = (await session.call(method.listDeviceUpdates, { ...of, pageSize: 1 })).deviceUpdates;
  if (newest === undefined) {
    throw new CliError(exitCodes.notFound, `the rollout has offered ${device} nothing`);
  }
  const { deviceUpdate, unchanged } = await session.call(method.updateDeviceUpdate, {
    deviceId: of.deviceId,
    id: newest.id,
    metadata: changed(newest.metadata, options),
  });
  const update = deviceUpdate ?? newest;
  session.print(DeviceUpdateSchema, update, () =>
    renderDeviceUpdates(session.terminal, [update], Date.now()),
  );
  session.noteUnchanged(unchanged, "so it was already");
}
