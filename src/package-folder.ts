import { findPackageJSON } from "node:module";
import { dirname } from "node:path";

/**
 * The folder of this package, with its package.json, console and contract. Found by package.json, because what runs is either
 * the sources or what `npm run build` makes of them, which lies elsewhere.
 */
export const packageFolder = dirname(findPackageJSON(import.meta.url) ?? import.meta.dirname);
