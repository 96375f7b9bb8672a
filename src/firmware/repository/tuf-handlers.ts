import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { TufService, TufRole as WireRole } from "../../../gen/ota/v1/tuf_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import type { TufRole } from "../../tuf/tuf-metadata.ts";
import type { TufRepositories } from "./tuf-repositories.ts";
import type { StoredMetadata } from "./tuf-store.ts";

/** TufService. */
export function tufEndpoints(repositories: TufRepositories): Endpoint[] {
  const { method } = TufService;
  return [
    unary(method.createTufOnlineKey, apiCalls, async ({ product }, { identity }) => {
      const { id, publicKeyPem } = await repositories.createOnlineKey(product, actorOf(identity));
      return { keyId: id, publicKeyPem };
    }),

    unary(method.publishTufRoot, apiCalls, async ({ product, root, targets }, { identity }) => {
      const { newest, unchanged } = await repositories.publishRoot({
        product,
        actor: actorOf(identity),
        root,
        targets: targets.length === 0 ? undefined : targets,
      });
      return { repository: repositoryOf(product, newest), unchanged };
    }),

    unary(method.publishTufTargets, apiCalls, async ({ product, targets }, { identity }) => {
      const request = { product, actor: actorOf(identity), targets };
      const { newest, unchanged } = await repositories.publishTargets(request);
      return { repository: repositoryOf(product, newest), unchanged };
    }),

    unary(method.draftTufTargets, apiCalls, async ({ product, expireTime }) => {
      const expiresAt = expireTime === undefined ? undefined : timestampDate(expireTime);
      const { bytes, added, removed } = await repositories.draftTargets(product, expiresAt);
      return { targets: new Uint8Array(bytes), addedVersions: [...added], removedVersions: [...removed] };
    }),

    unary(method.getTufRepository, apiCalls, async ({ product }) => ({
      repository: repositoryOf(product, await repositories.get(product)),
    })),

    unary(method.getTufMetadata, apiCalls, async ({ product, file }) => ({
      metadata: new Uint8Array(await repositories.read(product, file)),
    })),
  ];
}

const wireRoles: Readonly<Record<TufRole, WireRole>> = {
  root: WireRole.ROOT,
  targets: WireRole.TARGETS,
  snapshot: WireRole.SNAPSHOT,
  timestamp: WireRole.TIMESTAMP,
};

function repositoryOf(product: string, newest: ReadonlyMap<TufRole, StoredMetadata>) {
  const roles = [...newest.values()]
    .map(({ role, version, expiresAt }) => ({
      role: wireRoles[role],
      version,
      expireTime: timestampFromDate(expiresAt),
    }))
    .toSorted((a, b) => a.role - b.role);
  return { product, roles };
}
