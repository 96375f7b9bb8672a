// Lets Node.js run the service's TypeScript where the package is installed in somebody's node_modules: there Node.js itself
// strips types from nothing, so that no package relies on it unasked.

import { readFileSync } from "node:fs";
import { registerHooks, stripTypeScriptTypes } from "node:module";
import { fileURLToPath } from "node:url";

const sources = new URL("..", import.meta.url).href;

registerHooks({
  load(url, context, next) {
    const ours =
      url.startsWith(sources) && url.endsWith(".ts") && !url.slice(sources.length).includes("node_modules/");
    if (!ours) return next(url, context);
    const source = stripTypeScriptTypes(readFileSync(fileURLToPath(url), "utf8"));
    return { format: "module", source, shortCircuit: true };
  },
});
