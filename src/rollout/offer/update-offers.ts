import type { DeviceCheck } from "../../device/state/check-writer.ts";
import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import { notFound, OtaError } from "../../errors.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import type { Download, FirmwareDownloads } from "../../firmware/firmware-downloads.ts";
import type { Clock } from "../../infra/clock.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { DeviceUpdateState } from "../model/device-update.entity.ts";
import { isFinalUpdate } from "../model/device-update-state.ts";
import { isWaitingTry, type OpenUpdate } from "../model/open-update.ts";
import type { OutageLog } from "../proof/outage-log.ts";
import type { TransitionWriter } from "../proof/transition-writer.ts";
import type { UpdateRechecks } from "../proof/update-rechecks.ts";
import { lacksContent, planReport, type UpdateReport } from "../proof/update-report.ts";
import type { UpdateTracker } from "../proof/update-tracker.ts";
import type { CompiledRollout, OfferFirmware } from "../rules/compiled-rollout.ts";
import { isMadeFor } from "../rules/progress-rules.ts";
import { zoneOf } from "../rules/readiness-rules.ts";
import type { CheckedDevice } from "../rules/rule.ts";
import { unknownVersionMessage } from "../rules/targeting-rules.ts";
import { type CheckReading, checkedDevice } from "./checked-device.ts";
import { type RetryTime, retryAt } from "./deferrals.ts";
import type { KnownFacts } from "./known-facts.ts";
import { newUpdate } from "./new-update.ts";
import {
  decideOffer,
  type NoOffer,
  none,
  type OfferDecision,
  type OfferFound,
  tooManyInProgress,
} from "./offer-decision.ts";
import { decideOpenUpdate } from "./open-update-decision.ts";
import type { RolloutIndex } from "./rollout-index.ts";
import { StorageWatch } from "./storage-watch.ts";

/** The answer to an update check. */
export type CheckAnswer =
  | {
      readonly kind: "offer";
      readonly update: Readonly<OpenUpdate>;
      readonly firmware: Firmware;
      /** What the device has to keep to; undefined for a rollback. */
      readonly rollout: CompiledRollout | undefined;
      /** The device's time zone as far as it is known, for maintenance windows. */
      readonly timeZone: string | undefined;
    }
  | (NoOffer & { readonly retry?: RetryTime | undefined });

/** A download that a device may have, and what it is of. */
export interface OpenedDownload extends Download {
  readonly sha256: string;
  /** Whether the rollout wants devices to fetch it from the object store. */
  readonly direct: boolean;
}

/** What an {@link UpdateOffers} is made of. */
export interface UpdateOffersParts {
  readonly devices: DeviceSource;
  readonly index: RolloutIndex;
  readonly tracker: UpdateTracker;
  readonly rechecks: Pick<UpdateRechecks, "of">;
  /** What the rules ask. */
  readonly facts: KnownFacts;
  readonly writer: TransitionWriter;
  readonly downloads: Pick<FirmwareDownloads, "open">;
  readonly outages: OutageLog;
  readonly clock: Clock;
}

/** The devices, in memory where possible. */
export interface DeviceSource {
  get(deviceId: string, signal?: AbortSignal): DeviceSnapshot | Promise<DeviceSnapshot>;
  /** Takes what a device says of itself when it asks for an update. */
  observeCheck(check: DeviceCheck): void;
}

/** Serves devices: what waits for them, its content, and what they report of it. */
export class UpdateOffers {
  readonly #parts: UpdateOffersParts;
  /** Offers that are being stored, by device: a device that asks twice at once gets one. */
  readonly #offering = new Map<string, Promise<CheckAnswer>>();
  readonly #storage: StorageWatch;

  constructor(parts: UpdateOffersParts) {
    this.#parts = parts;
    this.#storage = new StorageWatch(parts);
  }

  /**
   * Answers an update check: the open update if there is one, else what the rollouts decide. At once, without touching
   * the database, unless an offer has to be stored or the device is not in memory.
   */
  check(deviceId: string, reading: CheckReading, signal?: AbortSignal): CheckAnswer | Promise<CheckAnswer> {
    const device = this.#parts.devices.get(deviceId, signal);
    return device instanceof Promise
      ? device.then((loaded) => this.#checked(loaded, reading))
      : this.#checked(device, reading);
  }

  /** As {@link check}, of a device that asked a while ago and waits: what it said of itself then is not noted again. */
  async checkAgain(deviceId: string, reading: CheckReading, signal: AbortSignal): Promise<CheckAnswer> {
    return this.#answer(await this.#parts.devices.get(deviceId, signal), reading);
  }

  /** The rollout whose update a device would be given if it asked now, by its newest heartbeat. */
  waitingFor(deviceId: string): string | undefined | Promise<string | undefined> {
    const device = this.#parts.devices.get(deviceId);
    return device instanceof Promise ? device.then((loaded) => this.#waiting(loaded)) : this.#waiting(device);
  }

  /**
   * As {@link waitingFor}, for a device that can be told to stop: what it is at gives way at once to what goes before it, so
   * that it need not finish it first.
   */
  makeWay(deviceId: string): string | undefined | Promise<string | undefined> {
    const device = this.#parts.devices.get(deviceId);
    return device instanceof Promise ? device.then((loaded) => this.#madeWay(loaded)) : this.#madeWay(device);
  }

  /**
   * Takes a device's report; returns where its update stands then. Reports go forward only, the same again is harmless.
   * `NOT_OFFERED` if the device never had that update.
   */
  async report(deviceId: string, report: UpdateReport): Promise<DeviceUpdateState> {
    const key = { deviceId, id: report.updateId };
    const bootId = await this.#bootOf(deviceId);
    if (report.state === "FAILED") await this.#lookForContent(deviceId, report.updateId);
    for (let attempt = 0; attempt < 2; attempt++) {
      const plan = (update: Readonly<OpenUpdate>) => this.#planReport(update, report, bootId);
      const state = await this.#parts.tracker.change(key, plan);
      if (state !== undefined) return state;
      const stored = await this.#parts.tracker.stored(key);
      if (stored === undefined) throw notOffered();
      if (isFinalUpdate(stored)) return stored;
      await this.#parts.tracker.load(deviceId);
    }
    throw new OtaError("aborted", "INTERNAL", "the update changes too fast; report again", {
      retryAfterMs: 1_000,
    });
  }

  /** Opens the content of a device's open update. `NOT_OFFERED`, in the same words, for any other. */
  async openDownload(
    deviceId: string,
    updateId: string,
    range: { readonly offset: number; readonly limit: number; readonly signal: AbortSignal },
  ): Promise<OpenedDownload> {
    const { tracker, index } = this.#parts;
    let update = tracker.get(deviceId);
    if (update?.id !== updateId) update = await tracker.load(deviceId);
    if (update?.id !== updateId) throw notOffered();
    const [offered, device] = await Promise.all([
      index.firmware(update.firmwareId),
      this.#parts.devices.get(deviceId, range.signal),
    ]);
    if (offered === undefined) throw notOffered();
    // What is only damaged is refused by its bytes, with a reason that leaves the update open.
    if (offered.blocked !== undefined && offered.awaitsRepair !== true) throw notOffered();
    // The device may have been found to be another one since the offer, on another replica.
    if (!isMadeFor(offered.firmware, device)) throw notOffered();
    const download = await this.#storage.open(offered.firmware, range);
    const direct = index.get(update.rolloutId)?.rollout.policy.directDownload ?? false;
    return { ...download, sha256: offered.firmware.sha256, direct };
  }

  /** Answers, and then notes what the device said: devices that send no heartbeats are known by it. */
  #checked(device: DeviceSnapshot, reading: CheckReading): CheckAnswer | Promise<CheckAnswer> {
    const answer = this.#answer(device, reading);
    if (!device.retired) {
      const receivedAt = this.#parts.clock.now();
      this.#parts.devices.observeCheck({ ...reading, deviceId: device.id, receivedAt });
    }
    return answer;
  }

  #answer(device: DeviceSnapshot, reading: CheckReading): CheckAnswer | Promise<CheckAnswer> {
    if (device.retired) return none("UP_TO_DATE", "the device is retired");
    const recheck = this.#parts.rechecks.of(device.id);
    if (recheck !== undefined) return recheck.then(() => this.#answer(device, reading));
    const checked = checkedDevice(device, reading);
    const update = this.#parts.tracker.get(device.id);
    if (update !== undefined) {
      const found = this.#replacement(update, checked);
      return found === undefined ? this.#answerOpen(update, checked) : this.#offer(checked, found);
    }
    const decision = this.#decide(checked);
    return decision.kind === "none" ? this.#withRetry(decision) : this.#offer(checked, decision);
  }

  #decide(device: CheckedDevice): OfferDecision {
    const { facts, index } = this.#parts;
    const decision = decideOffer(device, index.candidatesFor(device), facts);
    // Nobody knows whether an unknown version is the newest.
    return decision.kind === "none" && decision.reason === "UP_TO_DATE" && !index.explains(device)
      ? none("VERSION_UNKNOWN", unknownVersionMessage(device.firmwareVersion))
      : decision;
  }

  /** What goes before the open update of a device, and takes its place. */
  #replacement(update: Readonly<OpenUpdate>, device: CheckedDevice): OfferFound | undefined {
    if (update.action !== "INSTALL" || update.taken) return undefined;
    const { facts, index } = this.#parts;
    const others = index.candidatesFor(device).filter(({ id }) => id !== update.rolloutId);
    const decision = others.length === 0 ? undefined : decideOffer(device, others, facts);
    return decision?.kind === "offer" ? decision : undefined;
  }

  #madeWay(device: DeviceSnapshot): string | undefined | Promise<string | undefined> {
    const update = this.#parts.tracker.get(device.id);
    if (update === undefined || device.retired) return this.#waiting(device);
    const checked = checkedDevice(device);
    const found = this.#replacement(update, checked);
    if (found === undefined) return this.#waiting(device);
    return this.#offer(checked, found).then((answer) =>
      answer.kind === "offer" ? answer.update.rolloutId : undefined,
    );
  }

  #withRetry(answer: NoOffer): CheckAnswer {
    const { reason, rolloutId } = answer;
    if (reason === "UP_TO_DATE") return answer;
    const nowMs = this.#parts.facts.nowMs();
    if (reason !== "PACED" && reason !== "TOO_MANY_IN_PROGRESS")
      return { ...answer, retry: retryAt(answer, nowMs) };
    const policy = this.#parts.index.get(rolloutId ?? "")?.rollout.policy;
    // Nobody knows how long those that are updating take: a minute is a guess on the quick side.
    const perMinute = Math.min(
      policy?.offersPerMinute ?? Number.POSITIVE_INFINITY,
      policy?.maxInProgress ?? Number.POSITIVE_INFINITY,
    );
    return { ...answer, retry: this.#parts.facts.deferrals.next(rolloutId ?? "", perMinute, nowMs) };
  }

  #waiting(device: DeviceSnapshot): string | undefined {
    if (device.retired) return undefined;
    const update = this.#parts.tracker.get(device.id);
    if (update !== undefined) {
      const found = this.#replacement(update, { ...checkedDevice(device), userConsent: true });
      if (found !== undefined) return found.rollout.id;
      const due = (update.notBeforeMs ?? 0) <= this.#parts.facts.nowMs();
      return update.state === "OFFERED" && due ? update.rolloutId : undefined;
    }
    // Whether its user agrees only the device can say: it is told that there is something to ask for.
    const decision = this.#decide({ ...checkedDevice(device), userConsent: true });
    return decision.kind === "offer" ? decision.rollout.id : undefined;
  }

  #answerOpen(update: Readonly<OpenUpdate>, device: CheckedDevice): CheckAnswer | Promise<CheckAnswer> {
    const firmware = this.#parts.index.firmware(update.firmwareId);
    return firmware instanceof Promise
      ? firmware.then((loaded) => this.#decideOpen(update, loaded, device))
      : this.#decideOpen(update, firmware, device);
  }

  #decideOpen(
    update: Readonly<OpenUpdate>,
    firmware: OfferFirmware | undefined,
    device: CheckedDevice,
  ): CheckAnswer | Promise<CheckAnswer> {
    const { facts, index } = this.#parts;
    const rollout = index.get(update.rolloutId);
    const decision = decideOpenUpdate({ update, firmware, rollout }, device, facts);
    // The device cannot have it because of us, so its deadline waits.
    if (firmware?.awaitsRepair === true && decision.kind === "none" && decision.reason === "ROLLOUT_PAUSED")
      this.#storage.couldNotGive();
    switch (decision.kind) {
      case "none":
        return this.#withRetry(decision);
      case "installed":
        return none("UP_TO_DATE", `${update.toVersion} is installed; heartbeats have to prove it`);
      case "give":
        if (isWaitingTry(update)) return this.#once(device, () => this.#beginTry(update, device));
        return {
          kind: "offer",
          update,
          firmware: decision.firmware.firmware,
          rollout: update.action === "ROLLBACK" ? undefined : rollout,
          timeZone: zoneOf(device),
        };
    }
  }

  /** Lets a device begin with the further try that it waited for, if there is room for it. */
  async #beginTry(update: Readonly<OpenUpdate>, device: CheckedDevice): Promise<CheckAnswer> {
    const { index, tracker, writer } = this.#parts;
    const { deviceId, id, rolloutId } = update;
    const outcome = await writer.offer({ kind: "further try", deviceId, id, rolloutId });
    const limit = index.get(rolloutId)?.rollout.policy.maxInProgress ?? 0;
    if (outcome === "too_many") return this.#withRetry(tooManyInProgress(limit, update));
    const begun = await tracker.load(deviceId);
    return begun === undefined || isWaitingTry(begun)
      ? none("TOO_MANY_IN_PROGRESS", "try again")
      : this.#answerOpen(begun, device);
  }

  #offer(device: CheckedDevice, found: OfferFound): Promise<CheckAnswer> {
    return this.#once(device, () => this.#makeOffer(device, found));
  }

  /** A device that asks twice at once is given one answer. */
  #once(device: CheckedDevice, give: () => Promise<CheckAnswer>): Promise<CheckAnswer> {
    const under = this.#offering.get(device.id);
    if (under !== undefined) return under;
    const offering = give().finally(() => this.#offering.delete(device.id));
    this.#offering.set(device.id, offering);
    return offering;
  }

  async #makeOffer(device: CheckedDevice, found: OfferFound): Promise<CheckAnswer> {
    const { tracker, writer, clock, index } = this.#parts;
    const { firmware, rollout: compiled } = found;
    const { rollout } = compiled;
    const now = clock.now();
    const replaces = tracker.get(device.id);
    const update = newUpdate(device, found, now, replaces?.id);
    const { product } = firmware;
    const outcome = await writer.offer({
      ...update,
      kind: "offer",
      product,
      replaces,
      offeredAt: now,
      deadlineAt: new Date(update.deadlineAtMs),
    });
    switch (outcome) {
      case "offered":
        tracker.add(update);
        return { kind: "offer", update, firmware, rollout: compiled, timeZone: zoneOf(device) };
      case "paced":
        this.#parts.facts.deferrals.paced(rollout.id, this.#parts.facts.nowMs());
        break;
      case "too_many":
      case "open": {
        // What another replica gave to this device a moment ago is the reason then.
        const open = await tracker.load(device.id);
        if (open !== undefined) return this.#answerInstead(open, device);
        return outcome === "open"
          ? none("TOO_MANY_IN_PROGRESS", "try again")
          : this.#withRetry(tooManyInProgress(rollout.policy.maxInProgress ?? 0, update));
      }
      case "goes_back":
        return none("UPDATE_IN_PROGRESS", "the device is to be rolled back first");
      case "tried":
        this.#parts.facts.tried(rollout, device.id);
        break;
      case "not_open":
        // What is in memory is behind what the database says.
        await index.reload();
        if (replaces !== undefined) return this.#answerInstead(replaces, device);
        return none("RING_NOT_OPEN", `rollout ${rollout.name} makes no offer to this ring at the moment`);
    }
    const open = tracker.get(device.id);
    if (open !== undefined) return this.#answerInstead(open, device);
    // The next rollout may have something.
    const decision = this.#decide(device);
    return decision.kind === "none" ? this.#withRetry(decision) : this.#makeOffer(device, decision);
  }

  /** Gives a device what it is at, where it was not given what it asked for. */
  #answerInstead(open: Readonly<OpenUpdate>, device: CheckedDevice): CheckAnswer | Promise<CheckAnswer> {
    // That was all that is under way for it: a further try must not wait for it.
    this.#offering.delete(device.id);
    return this.#answerOpen(open, device);
  }

  #planReport(update: Readonly<OpenUpdate>, report: UpdateReport, bootId: string) {
    const { clock, outages } = this.#parts;
    const now = clock.now();
    return planReport(update, report, bootId, now, outages.touched(update.offeredAtMs, now.getTime()));
  }

  /** Before a device is blamed that has not got the content: can it be had at all? */
  async #lookForContent(deviceId: string, updateId: string): Promise<void> {
    const { index, outages, tracker } = this.#parts;
    const update = tracker.get(deviceId);
    if (update?.id !== updateId || !lacksContent(update.state)) return;
    if (outages.touched(update.offeredAtMs, this.#parts.facts.nowMs())) return;
    const offered = await index.firmware(update.firmwareId);
    if (offered !== undefined) await this.#storage.look(offered.firmware);
  }

  /** The boot that a device is in, if its registry entry is at hand. */
  async #bootOf(deviceId: string): Promise<string> {
    try {
      return (await this.#parts.devices.get(deviceId)).bootId;
    } catch (error) {
      throw asDatabaseError(error) ?? (error instanceof OtaError ? error : notFound("device", deviceId));
    }
  }
}

/** The device has not been offered this update, or there is none of that id: the same words for both. */
export function notOffered(): OtaError {
  return new OtaError(
    "permission_denied",
    "NOT_OFFERED",
    "the device has not been offered this update (or it might not exist)",
  );
}
