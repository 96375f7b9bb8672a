import { type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../../gen/google/api/annotations_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { AlertService } from "../../../gen/ota/v1/alert_service_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { HeartbeatService } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { TelemetryService } from "../../../gen/ota/v1/telemetry_service_pb.js";
import { TufService } from "../../../gen/ota/v1/tuf_service_pb.js";
import { UpdateService } from "../../../gen/ota/v1/update_service_pb.js";
import type { Endpoint, UnaryEndpoint } from "./endpoint.ts";
import { type HttpBinding, httpBindings } from "./http-binding.ts";
import { methodName } from "./pipeline.ts";

/** Every service of the contract. */
export const contractServices: readonly DescService[] = [
  AccessService,
  AlertService,
  DeviceService,
  ErrorService,
  FirmwareService,
  HeartbeatService,
  RolloutService,
  TelemetryService,
  TufService,
  UpdateService,
  WebhookService,
];

/** A REST binding with the endpoint that it leads to. */
export interface BoundEndpoint {
  readonly endpoint: UnaryEndpoint;
  readonly binding: HttpBinding;
}

/**
 * All that can be called, with who may call it. Made once at start, where it refuses a table with holes: every
 * method of every service must have exactly one endpoint, some caller must be allowed, and no two REST bindings may
 * claim the same path.
 */
export class EndpointTable implements Iterable<Endpoint> {
  /** The services with their descriptors, those of the contract first. */
  readonly services: readonly DescService[];
  /** REST bindings, the more specific ones first. */
  readonly bindings: readonly BoundEndpoint[];
  readonly #byName = new Map<string, Endpoint>();

  /** `required` are the services that must be complete; whatever else has an endpoint must be complete too. */
  constructor(endpoints: readonly Endpoint[], required: readonly DescService[] = contractServices) {
    for (const endpoint of endpoints) {
      const name = methodName(endpoint);
      if (this.#byName.has(name)) throw new Error(`two endpoints for ${name}`);
      requireCallers(name, endpoint);
      this.#byName.set(name, endpoint);
    }
    this.services = [...new Set([...required, ...endpoints.map(({ method }) => method.parent)])];
    const missing = this.services.flatMap((service) =>
      service.methods
        .map((method) => `${service.typeName}/${method.name}`)
        .filter((name) => !this.#byName.has(name)),
    );
    if (missing.length > 0) throw new Error(`no endpoint for ${missing.join(", ")}`);
    this.bindings = boundEndpoints(endpoints);
  }

  [Symbol.iterator](): IterableIterator<Endpoint> {
    return this.#byName.values();
  }

  /** The endpoint of a full method name, `ota.v1.UpdateService/CheckForUpdate`. */
  get(name: string): Endpoint | undefined {
    return this.#byName.get(name);
  }
}

function requireCallers(name: string, { access }: Endpoint): void {
  if (access.public !== true && access.role === undefined && access.device === undefined) {
    throw new Error(`nobody may call ${name}: its access rule is empty`);
  }
}

function boundEndpoints(endpoints: readonly Endpoint[]): BoundEndpoint[] {
  const bound: BoundEndpoint[] = [];
  for (const endpoint of endpoints) {
    if (!hasOption(endpoint.method, http)) continue;
    if (endpoint.kind !== "unary")
      throw new Error(`${methodName(endpoint)}: only unary methods have REST bindings`);
    for (const binding of httpBindings(endpoint.method, getOption(endpoint.method, http))) {
      const rival = bound.find((other) => clashes(other.binding, binding));
      if (rival !== undefined) {
        throw new Error(
          `${methodName(endpoint)} and ${methodName(rival.endpoint)} both claim ${binding.verb} ${binding.path}`,
        );
      }
      bound.push({ endpoint, binding });
    }
  }
  return bound.toSorted((a, b) => a.binding.template.compareSpecificity(b.binding.template));
}

function clashes(a: HttpBinding, b: HttpBinding): boolean {
  return a.verb === b.verb && a.template.shape === b.template.shape;
}
