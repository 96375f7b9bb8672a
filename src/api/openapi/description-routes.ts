import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { FastifyReply, FastifyRequest } from "fastify";
import { packageFolder } from "../../package-folder.ts";
import type { RawRoute } from "../http/raw-route.ts";
import type { ApiDescription } from "./document.ts";
import { referencePage } from "./reference-page.ts";

/**
 * The description of the API: `GET /openapi.json` as OpenAPI 3.1, as it was made of the contract (scripts/openapi), and `GET /docs`
 * as a page for people. It tells nothing of this service but which version of the contract it serves, so nobody needs a credential.
 */
export function descriptionRoutes(): RawRoute[] {
  const description = () => readFile(join(packageFolder, "gen/openapi.json"));
  const style = () => readFile(join(packageFolder, "src/api/openapi/reference.css"));
  const page = async () => {
    const api = JSON.parse((await description()).toString()) as ApiDescription;
    return Buffer.from(referencePage(api));
  };
  return [
    fileRoute("/openapi.json", "application/json; charset=utf-8", description),
    fileRoute("/docs", "text/html; charset=utf-8", page),
    fileRoute("/docs/reference.css", "text/css; charset=utf-8", style),
  ];
}

/** A file that never changes while the service runs: it is made when it is first asked for, and kept. */
function fileRoute(url: string, contentType: string, make: () => Promise<Buffer>): RawRoute {
  let file: Promise<KeptFile> | undefined;
  return {
    method: "GET",
    url,
    access: { public: true },
    rate: "page",
    handle: async (request, reply) => {
      file ??= keep(make);
      // What could not be read may be there the next time.
      file.catch(() => {
        file = undefined;
      });
      return answer(await file, contentType, request, reply);
    },
  };
}

interface KeptFile {
  readonly plain: Buffer;
  readonly zipped: Buffer;
  readonly etag: string;
}

async function keep(make: () => Promise<Buffer>): Promise<KeptFile> {
  const plain = await make();
  const digest = createHash("sha256").update(plain).digest("base64url");
  // Weak: the same for both encodings.
  return { plain, zipped: await promisify(gzip)(plain), etag: `W/"${digest}"` };
}

function answer(
  { plain, zipped, etag }: KeptFile,
  contentType: string,
  { headers }: FastifyRequest,
  reply: FastifyReply,
): Buffer | string {
  void reply.headers({ etag, "cache-control": "no-cache", vary: "accept-encoding" });
  if (headers["if-none-match"]?.includes(etag) === true) {
    void reply.code(304);
    return "";
  }
  void reply.type(contentType);
  if (!acceptsGzip(String(headers["accept-encoding"] ?? ""))) return plain;
  void reply.header("content-encoding", "gzip");
  return zipped;
}

/** By `Accept-Encoding` (RFC 9110, section 12.5.3): named, and with a weight that is not zero. */
function acceptsGzip(codings: string): boolean {
  return codings.split(",").some((each) => {
    const [coding = "", weight = ""] = each.split(";", 2);
    return coding.trim().toLowerCase() === "gzip" && !/^\s*q=0(?:\.0*)?\s*$/i.test(weight);
  });
}
