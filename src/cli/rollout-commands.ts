import { randomUUID as newRequestId } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { DeviceUpdateState, type Rollout, RolloutSchema, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import {
  GetRolloutDefaultsResponseSchema,
  ListDeviceUpdatesResponseSchema,
  ListRolloutsResponseSchema,
  RolloutService,
} from "../../gen/ota/v1/rollout_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { LiveView } from "./live-view.ts";
import { filterOption, limitOption, noteMore, readPages } from "./paging.ts";
import { collectPairs, pairTexts, parseEnumValue } from "./parse.ts";
import { deviceId, firmwareId, rolloutId, rolloutReference } from "./references.ts";
import { addHealthCommands } from "./rollout-health.ts";
import {
  addRolloutOptions,
  metadataOption,
  type NewRolloutOptions,
  resolvedRolloutParts,
  saltOption,
} from "./rollout-options.ts";
import { printRollout } from "./rollout-output.ts";
import { addPreviewCommands } from "./rollout-preview.ts";
import { addRecordCommands } from "./rollout-record-commands.ts";
import { addRolloutVerbs } from "./rollout-verb-commands.ts";
import {
  isOver,
  renderDefaults,
  renderDeviceUpdates,
  renderRollouts,
  rolloutLine,
  rolloutLines,
} from "./rollout-view.ts";
import { noteWarningsOf } from "./rollout-warnings.ts";
import { type Cli, jsonText, type Session, withSession } from "./session.ts";

/** `rollout …`: create, watch and steer rollouts. */
export function addRolloutCommands(program: Command, cli: Cli): void {
  const rollout = program
    .command("rollout")
    .description("Watch and steer rollouts: one firmware on its way to the fleet, ring by ring")
    .addHelpText("after", ROLLOUT_HELP);

  addRolloutOptions(
    rollout
      .command("create")
      .argument("<firmware>", "the released firmware: its id or product@version")
      .description("Create a rollout without starting it (`firmware deploy` does both)")
      .option("--name <name>", "a name for people")
      .addOption(metadataOption())
      .addOption(saltOption()),
  ).action(
    withSession(cli, async (session, firmware: string, options: NewRolloutOptions & { name?: string }) => {
      const { rollout: created } = await session.call(RolloutService.method.createRollout, {
        requestId: newRequestId(),
        firmwareId: await firmwareId(session, firmware),
        name: options.name ?? "",
        metadata: options.metadata ?? {},
        salt: options.salt ?? "",
        ...(await resolvedRolloutParts(session, options)),
      });
      if (created !== undefined) await noteWarningsOf(session, created.id);
      printRollout(session, created);
    }),
  );

  rollout
    .command("defaults")
    .description("Show what holds for a new rollout where no option says otherwise")
    .action(
      withSession(cli, async (session) => {
        const defaults = await session.call(RolloutService.method.getRolloutDefaults, {});
        session.print(GetRolloutDefaultsResponseSchema, defaults, () =>
          renderDefaults(session.terminal, defaults),
        );
      }),
    );

  rollout
    .command("list")
    .description("List rollouts, newest first")
    .option("--state <states>", "only these: draft, running, paused, …", parseEnumValue(RolloutState))
    .option("--firmware <firmware>", "only rollouts of this firmware: its id or product@version")
    .option("--metadata <name=value>", "only rollouts with this key; repeatable", collectPairs)
    .option("--archived", "archived ones as well")
    .addOption(filterOption("state = RUNNING version >= 2.0.0"))
    .addOption(limitOption())
    .action(withSession(cli, listRollouts));

  rollout
    .command("status")
    .alias("show")
    .argument("[rollout]", rolloutReference, "latest")
    .description("Show a rollout with its rings, counters and what its gates still miss")
    .action(
      withSession(cli, async (session, reference: string) => {
        const id = await rolloutId(session, reference);
        const answer = await session.call(RolloutService.method.getRollout, { id });
        printRollout(session, answer.rollout);
      }),
    );

  rollout
    .command("watch")
    .argument("[rollout]", rolloutReference, "latest")
    .description("Follow a rollout until it is over; exit code 0 only if it completed")
    .action(withSession(cli, watchRollout));

  rollout
    .command("devices")
    .argument("[rollout]", rolloutReference, "latest")
    .description("List the devices that a rollout has touched, newest first, with why they failed")
    .option(
      "--state <states>",
      "only these: offered, downloading, failed, …",
      parseEnumValue(DeviceUpdateState),
    )
    .option("--missing", "only those that began to install and are not heard any more")
    .option("--drifted", "only those that succeeded and run an older version again")
    .option("--ring <ring>", "only devices in this ring")
    .option("--device <device>", "only this device: its id or serial number")
    .option("--metadata <name=value>", "only updates with this key; repeatable", collectPairs)
    .addOption(filterOption('failure_reason = "DOWNLOAD*" attempt > 1'))
    .addOption(limitOption())
    .action(withSession(cli, listDevices));

  addPreviewCommands(rollout, cli);
  addHealthCommands(rollout, cli);
  addRecordCommands(rollout, cli);
  addRolloutVerbs(rollout, cli);
}

const ROLLOUT_HELP = `
A rollout reaches its rings one after the other. A ring passes when its gate holds: enough devices have
finished, enough of them succeeded, and that for the soak time. A device succeeded when its own heartbeats
prove that it runs the new version healthily. Too many failures, and the rollout rolls the update back by itself.

Examples:
  $ device-ota firmware deploy thermostat-os@1.1.0          create and start a rollout
  $ device-ota rollout watch latest                         follow it
  $ device-ota rollout devices latest --state failed        who failed, and why
  $ device-ota rollout pause latest --reason "too hot out"  no new offers for now
  $ device-ota rollout rollback latest                      roll it back`;

async function listRollouts(
  session: Session,
  options: {
    limit: number;
    state?: RolloutState[];
    firmware?: string;
    metadata?: Record<string, string>;
    archived?: boolean;
    filter?: string;
  },
): Promise<void> {
  const filter = {
    states: options.state ?? [],
    firmwareId: options.firmware === undefined ? "" : await firmwareId(session, options.firmware),
    metadata: pairTexts(options.metadata),
    showArchived: options.archived ?? false,
    filter: options.filter ?? "",
  };
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(RolloutService.method.listRollouts, { ...filter, ...page });
    return { items: answer.rollouts, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListRolloutsResponseSchema, { rollouts: items, nextPageToken });
  session.print(ListRolloutsResponseSchema, answer, () =>
    items.length === 0 ? "No rollouts." : renderRollouts(session.terminal, items, Date.now()),
  );
  noteMore(session, nextPageToken);
}

async function listDevices(
  session: Session,
  reference: string,
  options: {
    limit: number;
    state?: DeviceUpdateState[];
    missing?: boolean;
    drifted?: boolean;
    ring?: string;
    device?: string;
    metadata?: Record<string, string>;
    filter?: string;
  },
): Promise<void> {
  const filter = {
    missing: options.missing ?? false,
    drifted: options.drifted ?? false,
    rolloutId: await rolloutId(session, reference),
    deviceId: options.device === undefined ? "" : await deviceId(session, options.device),
    states: options.state ?? [],
    ring: options.ring ?? "",
    metadata: pairTexts(options.metadata),
    filter: options.filter ?? "",
  };
  const { items, nextPageToken } = await readPages(options.limit, async (page) => {
    const answer = await session.call(RolloutService.method.listDeviceUpdates, { ...filter, ...page });
    return { items: answer.deviceUpdates, nextPageToken: answer.nextPageToken };
  });
  const answer = create(ListDeviceUpdatesResponseSchema, { deviceUpdates: items, nextPageToken });
  session.print(ListDeviceUpdatesResponseSchema, answer, () =>
    items.length === 0 ? "No devices." : renderDeviceUpdates(session.terminal, items, Date.now()),
  );
  noteMore(session, nextPageToken);
}

async function watchRollout(session: Session, reference: string): Promise<void> {
  const id = await rolloutId(session, reference);
  const last = await followRollout(session, id);
  if (last.state !== RolloutState.COMPLETED) {
    throw new CliError(
      exitCodes.failure,
      `the rollout did not complete: ${rolloutLine(last)}. ${last.stateReason}`,
    );
  }
}

/** Shows a rollout at each change until it is over: redrawn in place on a terminal, else a line a change. */
async function followRollout(session: Session, id: string): Promise<Rollout> {
  const { terminal } = session;
  using view = new LiveView(terminal);
  let last: Rollout | undefined;
  let shown = "";
  for await (const { rollout } of session.stream(RolloutService.method.watchRollout, { id })) {
    if (rollout === undefined) continue;
    last = rollout;
    if (session.json) terminal.out(jsonText(RolloutSchema, rollout));
    else if (terminal.interactive) view.draw(rolloutLines(terminal, rollout));
    else if (rolloutLine(rollout) !== shown) {
      shown = rolloutLine(rollout);
      terminal.out(shown);
    }
    if (isOver(rollout)) return rollout;
  }
  session.signal.throwIfAborted();
  if (last === undefined)
    throw new CliError(exitCodes.failure, "the service ended the watch without an answer");
  throw new CliError(exitCodes.unavailable, "the service ended the watch before the rollout was over");
}
