import { randomUUID } from "node:crypto";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { NoOfferReason, type Offer, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { eventually } from "./eventually.ts";
import { enrol } from "./streaming-device.ts";

/** Where a device can ask. */
interface Door {
  readonly grpcAddress: string;
}

/** A device that has no stream: it asks, reports and beats by single calls, at whichever process is asked to take them. */
export class PolledDevice {
  readonly id: string;
  readonly #token: string;
  #version: string;
  #boot = 1;
  #sequence = 0;
  #offer: Offer | undefined;

  /** Enrols a device that runs `firmwareVersion`. */
  static async enrol(rpc: RpcClient, enrolmentKey: string, firmwareVersion = "1.0.0"): Promise<PolledDevice> {
    const { device, deviceToken } = await enrol(rpc, enrolmentKey, firmwareVersion);
    return new PolledDevice(device?.id ?? "", deviceToken, firmwareVersion);
  }

  private constructor(id: string, token: string, version: string) {
    this.#version = version;
    this.id = id;
    this.#token = token;
  }

  /** Makes it a device of a product, in a group of its own in which it comes first; returns the group's name. */
  async joinGroup(rpc: RpcClient, product: string): Promise<string> {
    const group = `g-${randomUUID()}`;
    await rpc.unary(DeviceService.method.updateDevice, {
      id: this.id,
      product,
      groups: { names: [group] },
      updatePin: UpdatePin.CANARY,
    });
    return group;
  }

  async check(service: Door) {
    using rpc = this.#client(service);
    return await rpc.unary(UpdateService.method.checkForUpdate, {
      firmwareVersion: this.#version,
      bootId: `boot-${this.#boot}`,
    });
  }

  async expectOffer(service: Door): Promise<Offer> {
    const { offer, noOfferReason } = await this.check(service);
    if (offer === undefined) throw new Error(`no offer: ${NoOfferReason[noOfferReason]}`);
    if (this.#offer !== undefined && this.#offer.updateId !== offer.updateId)
      throw new Error(`update ${offer.updateId} was offered beside ${this.#offer.updateId}`);
    this.#offer = offer;
    return offer;
  }

  /** Is done with the update: the next offer is of another one. */
  forget(): void {
    this.#offer = undefined;
  }

  /** Takes the update up to the first heartbeat of the new version, for which it reports `reported` or the version itself. */
  async update(service: Door, reported?: string): Promise<void> {
    const { version } = await eventually(() => this.expectOffer(service));
    await this.report(service, DeviceUpdateState.REBOOTING);
    await this.reboot(service, reported ?? version);
  }

  /** Restarts by itself, with another version. */
  async reboot(service: Door, version: string): Promise<void> {
    this.#version = version;
    this.#boot += 1;
    await this.beat(service);
  }

  async report(service: Door, state: DeviceUpdateState): Promise<DeviceUpdateState> {
    using rpc = this.#client(service);
    const answer = await rpc.unary(UpdateService.method.reportUpdateStatus, {
      updateId: this.#offer?.updateId ?? "",
      state,
      failureReason: state === DeviceUpdateState.FAILED ? "NO_SPACE" : "",
    });
    return answer.state;
  }

  async beat(service: Door): Promise<void> {
    using rpc = this.#client(service);
    this.#sequence += 1;
    const heartbeat = {
      sequence: BigInt(this.#sequence),
      firmwareVersion: this.#version,
      bootId: `boot-${this.#boot}`,
    };
    await rpc.unary(HeartbeatService.method.sendHeartbeat, { epoch: 1, heartbeats: [heartbeat] });
  }

  #client({ grpcAddress }: Door): RpcClient {
    return new RpcClient({ address: grpcAddress, token: this.#token });
  }
}
