import { PathTemplate } from "../pipeline/path-template.ts";

/** Says which methods a path has by the routes that are no RPCs, for answers of 405 (RFC 9110, section 15.5.6). */
export class RawPaths {
  readonly #paths: readonly { readonly template: PathTemplate; readonly methods: readonly string[] }[];

  constructor(routes: readonly { readonly method: string | readonly string[]; readonly url: string }[]) {
    this.#paths = routes.map(({ method, url }) => ({
      template: new PathTemplate(url.split("/").map(asVariable).join("/")),
      methods: [method].flat(),
    }));
  }

  /** The methods of a path as it came; none where no such route has it, or it is not validly encoded. */
  methodsOf(path: string): readonly string[] {
    return this.#paths.flatMap(({ template, methods }) => (fits(template, path) ? methods : []));
  }
}

/** A variable as path templates write it. */
function asVariable(segment: string): string {
  return segment.startsWith(":") ? `{${segment.slice(1)}}` : segment;
}

function fits(template: PathTemplate, path: string): boolean {
  try {
    return template.match(path) !== undefined;
  } catch {
    return false;
  }
}
