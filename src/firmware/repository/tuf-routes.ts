import { TufService } from "../../../gen/ota/v1/tuf_service_pb.js";
import type { RawRoute } from "../../api/http/raw-route.ts";
import { accessRuleOf } from "../../api/pipeline/access-rule.ts";
import type { TufRepositories } from "./tuf-repositories.ts";

/**
 * `GET /tuf/{product}/{file}`: metadata for stock TUF clients, by the names that the specification gives the files. Who has no
 * credential is answered only where the metadata is public: it says which versions there are, how large they are and their digests.
 */
export function tufRoutes(repositories: TufRepositories, options: { readonly public: boolean }): RawRoute[] {
  return [
    {
      method: ["GET", "HEAD"],
      url: "/tuf/:product/:file",
      access: options.public ? { public: true } : accessRuleOf(TufService.method.getTufMetadata),
      rate: "operator",
      handle: async (request, reply) => {
        const { product, file } = request.params as { product: string; file: string };
        const bytes = await repositories.read(product, file);
        void reply.headers({
          "content-type": "application/json",
          // What has its version in its name never changes; a timestamp is only worth something fresh.
          "cache-control": `${options.public ? "public" : "private"}, ${file === "timestamp.json" ? "no-cache" : "max-age=86400, immutable"}`,
        });
        return bytes;
      },
    },
  ];
}
