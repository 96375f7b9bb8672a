import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { Standing } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { enrolDevice, http } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Whoever copied a device's credential and runs beside it. */

const { approveDevice, countDevices, getDevice, resetDeviceCredential } = DeviceService.method;

interface Identity {
  readonly id: string;
  readonly token: string;
}

let service: TestService;
/** Another replica, which puts whom it suspects in quarantine. */
let other: TestService;
beforeAll(async () => {
  service = await startTestService();
  other = await startTestService({
    databaseUrl: service.databaseUrl,
    settings: { DEVICE_OTA_QUARANTINE_CLONES: "true" },
  });
});
afterAll(async () => {
  await other[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** A machine with a device's credential: its boot, and when that began. */
class Machine {
  bootId: string = randomUUID();
  startedMs = Date.now() - 3_600_000;
  /** What it gave out last; it survives reboots. */
  sequence = 0;
  readonly #identity: Identity;
  #stream: { cancel(): void } | undefined;

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  reboot(): void {
    this.bootId = randomUUID();
    this.startedMs = Date.now();
  }

  /** Opens a stream, which takes the place of another one's, sends a heartbeat, and waits until that is stored. */
  async stream(at: TestService): Promise<void> {
    const { id: deviceId, token } = this.#identity;
    const stream = at.client(token).bidi(HeartbeatService.method.streamHeartbeats);
    const { bootId } = this;
    const hello = { deviceId, bootId, firmwareVersion: "1.0.0" };
    await stream.send({ message: { case: "hello", value: hello } });
    await stream.send({ message: { case: "batch", value: { heartbeats: [this.#beat()] } } });
    // Not by a loop over it, which would end it: the stream stays open.
    const answers = stream[Symbol.asyncIterator]();
    for (let kind: string | undefined = ""; kind !== "ack"; ) {
      const { value, done } = await answers.next();
      if (done === true) throw new Error("the stream ended before the heartbeat was stored");
      kind = value.message.case;
    }
    this.#stream?.cancel();
    this.#stream = stream;
  }

  /** Sends a heartbeat over REST. */
  async post(at: TestService): Promise<void> {
    const { id: deviceId, token } = this.#identity;
    const beat = { sequence: ++this.sequence, firmwareVersion: "1.0.0", bootId: this.bootId };
    const uptime = `${(Date.now() - this.startedMs) / 1_000}s`;
    const body = { deviceId, heartbeats: [{ ...beat, uptime }] };
    const { status } = await http(at, "POST", "/api/v1/heartbeat", { token, body });
    if (status !== 200) throw new Error(`the heartbeat was refused: ${status}`);
  }

  /** Asks for an update. */
  async check(at: TestService): Promise<void> {
    const { bootId } = this;
    await at
      .client(this.#identity.token)
      .unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0", bootId });
  }

  close(): void {
    this.#stream?.cancel();
  }

  #beat() {
    const uptime = durationFromMs(Date.now() - this.startedMs);
    return { sequence: BigInt(++this.sequence), firmwareVersion: "1.0.0", bootId: this.bootId, uptime };
  }
}

async function deviceOf({ id }: Identity) {
  const { device } = await service.client().unary(getDevice, { id });
  if (device === undefined) throw new Error("there is no device");
  return device;
}

async function untilSuspected(device: Identity): Promise<void> {
  await eventually(async () => {
    expect((await deviceOf(device)).cloneSuspectedTime).toBeDefined();
  });
}

/** Everything that was seen of a device before now is judged once a later sighting of another one is. */
async function untilJudged(at: TestService): Promise<void> {
  const marker = await enrolDevice(service);
  const [one, two] = [new Machine(marker), new Machine(marker)];
  for (const machine of [one, two, one, two, one]) await machine.post(at);
  await untilSuspected(marker);
}

async function suspicions(): Promise<number> {
  const text = String((await http(service, "GET", "/metrics")).body);
  return Number(/^device_ota_clones_suspected_total (\d+)$/mu.exec(text)?.[1] ?? 0);
}

describe("a machine with a copied credential", () => {
  it("is seen beside the device on streams, counted, on record, in filters, until an operator clears it", async () => {
    const device = await enrolDevice(service);
    const before = await suspicions();
    const [honest, copy] = [new Machine(device), new Machine(device)];
    for (const machine of [honest, copy, honest, copy, honest]) await machine.stream(service);
    await untilSuspected(device);
    await eventually(async () => expect(await suspicions()).toBe(before + 1));
    const client = service.client();
    const { events } = await client.unary(AccessService.method.listAuditEvents, { resourceId: device.id });
    expect(events[0]).toMatchObject({ actor: "system:clone-watch", action: "device.suspect_clone" });
    const ids = events[0]?.details["boot_ids"]?.split(", ").toSorted();
    expect(ids).toEqual([honest.bootId, copy.bootId].toSorted());
    const filter = `id = ${device.id} AND clone_suspected_time > ago(1h)`;
    expect((await client.unary(countDevices, { filter })).count).toBe(1n);
    expect((await deviceOf(device)).standing).toBe(Standing.ADMITTED);

    const cleared = await client.unary(approveDevice, { id: device.id, reason: "a test bench" });
    expect([cleared.unchanged, cleared.device?.cloneSuspectedTime]).toEqual([false, undefined]);
    expect((await client.unary(approveDevice, { id: device.id })).unchanged).toBe(true);
    // It is seen anew if it goes on.
    for (const machine of [copy, honest, copy, honest, copy, honest]) await machine.stream(service);
    await untilSuspected(device);
    await client.unary(resetDeviceCredential, { id: device.id });
    expect((await deviceOf(device)).cloneSuspectedTime).toBeUndefined();
    for (const machine of [honest, copy]) machine.close();
  });

  it("is seen over REST, though its sequences overlap, and it makes up a new boot each time or only asks for updates", async () => {
    const device = await enrolDevice(service);
    const [honest, copy] = [new Machine(device), new Machine(device)];
    honest.sequence = 1_000;
    for (let round = 0; round < 3; round++) {
      await honest.post(service);
      copy.reboot();
      await (round === 1 ? copy.post(service) : copy.check(service));
    }
    await honest.post(service);
    await untilSuspected(device);
    expect((await deviceOf(device)).cloneSuspectedTime).toBeDefined();
  });

  it("is seen when the two never meet at one replica", async () => {
    const device = await enrolDevice(service);
    const [honest, copy] = [new Machine(device), new Machine(device)];
    for (let round = 0; round < 2; round++) {
      await honest.stream(service);
      await copy.stream(other);
    }
    // What is seen at one replica is written within a second; the other one judges by it.
    await eventually(async () => {
      await honest.stream(service);
      await copy.stream(other);
      expect((await deviceOf(device)).cloneSuspectedTime).toBeDefined();
    });
    for (const machine of [honest, copy]) machine.close();
  });

  it("is put in quarantine where that is set, until it is approved", async () => {
    const device = await enrolDevice(service);
    const [honest, copy] = [new Machine(device), new Machine(device)];
    for (const machine of [honest, copy, honest, copy, honest]) await machine.post(other);
    await untilSuspected(device);
    expect((await deviceOf(device)).standing).toBe(Standing.QUARANTINED);
    const { device: approved } = await service.client().unary(approveDevice, { id: device.id });
    expect([approved?.standing, approved?.cloneSuspectedTime]).toEqual([Standing.ADMITTED, undefined]);
  });
});

describe("an honest device is not suspected", () => {
  it("if it reboots again and again, on streams, over REST, and with a backlog of the boot before", async () => {
    const device = await enrolDevice(service);
    const machine = new Machine(device);
    for (let boot = 0; boot < 4; boot++) {
      await machine.stream(service);
      await machine.post(service);
      await machine.check(service);
      await machine.stream(service);
      machine.reboot();
    }
    const { token, id: deviceId } = device;
    for (let batch = 0; batch < 4; batch++) {
      const late = { firmwareVersion: "1.0.0", bootId: "the boot before", uptime: "5s" };
      const heartbeats = [
        { ...late, sequence: ++machine.sequence },
        { ...late, sequence: ++machine.sequence, bootId: machine.bootId },
      ];
      const sent = await http(service, "POST", "/api/v1/heartbeat", {
        token,
        body: { deviceId, heartbeats },
      });
      expect(sent.status).toBe(200);
    }
    await untilJudged(service);
    expect((await deviceOf(device)).cloneSuspectedTime).toBeUndefined();
    machine.close();
  });

  it("if it goes back to a saved state time and again", async () => {
    const device = await enrolDevice(service);
    const machine = new Machine(device);
    const savedBoot = machine.bootId;
    for (let round = 0; round < 5; round++) {
      machine.bootId = savedBoot;
      // Its uptime goes back with it: by the service's clock the boot began a quarter of an hour later.
      machine.startedMs = Date.now() - 3_600_000 + round * 900_000;
      await machine.post(service);
      machine.reboot();
      await machine.post(service);
    }
    await untilJudged(service);
    expect((await deviceOf(device)).cloneSuspectedTime).toBeUndefined();
  });

  it("if several programs of it speak for the same boot", async () => {
    const device = await enrolDevice(service);
    const [one, two] = [new Machine(device), new Machine(device)];
    two.bootId = one.bootId;
    for (const machine of [one, two, one, two, one, two]) {
      await machine.stream(service);
      await machine.check(service);
      await machine.post(service);
    }
    await untilJudged(service);
    expect((await deviceOf(device)).cloneSuspectedTime).toBeUndefined();
    for (const machine of [one, two]) machine.close();
  });
});
