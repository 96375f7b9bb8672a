import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { packageFolder } from "./package-folder.ts";

// Halves the time to the first line. Beside the code, because whoever can write there can change the code anyway; the
// default folder would be in /tmp, where others could leave something to run.
enableCompileCache(join(packageFolder, "node_modules/.cache/compile"));
const { runCommandLine } = await import("./cli/command-line.ts");

process.exitCode = await runCommandLine(process.argv.slice(2));
