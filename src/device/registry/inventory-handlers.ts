import { DeviceService, StandingVerb as WireStandingVerb } from "../../../gen/ota/v1/device_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import { parseDeviceFilter } from "../filter/device-filter.ts";
import type { DeviceBatches } from "./device-batch.ts";
import { savedFilterMessage, updatePinOf } from "./device-messages.ts";
import type { DeviceRegistry } from "./device-registry.ts";
import type { StandingVerb } from "./device-standings.ts";
import type { SavedFilters } from "./saved-filters.ts";

/** What the handlers of counts, bulk changes and saved filters call. */
export interface InventoryParts {
  readonly registry: DeviceRegistry;
  readonly batches: DeviceBatches;
  readonly savedFilters: SavedFilters;
}

/** The endpoints of DeviceService that deal with many devices at once. */
export function inventoryEndpoints({ registry, batches, savedFilters }: InventoryParts): Endpoint[] {
  return [
    unary(DeviceService.method.countDevices, apiCalls, async ({ filter }, { signal }) => ({
      count: BigInt(await registry.count(parseDeviceFilter(filter), { signal })),
    })),
    unary(DeviceService.method.batchUpdateDevices, apiCalls, async (request, { identity, signal }) => {
      const { deviceIds, filter, addGroups, removeGroups, addTags, removeTags } = request;
      const { expectedCount, updatePin, product, retire, standingVerb, reason, validateOnly, rotateToken } =
        request;
      const outcome = await batches.apply(
        {
          actor: actorOf(identity),
          deviceIds,
          filter,
          expectedCount: expectedCount === undefined ? undefined : Number(expectedCount),
          addGroups,
          removeGroups,
          addTags,
          removeTags,
          updatePin: updatePin === undefined ? undefined : updatePinOf(updatePin),
          product,
          retire,
          rotateToken,
          standingVerb: standingVerb === undefined ? undefined : standingVerbs[standingVerb],
          reason,
          validateOnly,
        },
        signal,
      );
      return { matchedCount: BigInt(outcome.matched), changedCount: BigInt(outcome.changed) };
    }),
    unary(
      DeviceService.method.createSavedFilter,
      apiCalls,
      async ({ requestId, name, filter }, { identity }) => {
        const actor = actorOf(identity);
        const row = await savedFilters.create({ actor, requestId: requestId || undefined, name, filter });
        return { savedFilter: savedFilterMessage(row) };
      },
    ),
    unary(DeviceService.method.listSavedFilters, apiCalls, async () => ({
      savedFilters: (await savedFilters.list()).map(savedFilterMessage),
    })),
    unary(DeviceService.method.deleteSavedFilter, apiCalls, async ({ id }, { identity }) => {
      await savedFilters.delete({ actor: actorOf(identity), id });
      return {};
    }),
  ];
}

/** The contract's rules have refused what is none. */
const standingVerbs: Readonly<Record<WireStandingVerb, StandingVerb | undefined>> = {
  [WireStandingVerb.UNSPECIFIED]: undefined,
  [WireStandingVerb.BLOCK]: "block",
  [WireStandingVerb.UNBLOCK]: "unblock",
  [WireStandingVerb.QUARANTINE]: "quarantine",
  [WireStandingVerb.APPROVE]: "approve",
};
