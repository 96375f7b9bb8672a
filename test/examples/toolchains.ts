import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { type ExampleProgram, examples } from "./example-device.ts";

interface Example {
  readonly name: string;
  /** What a machine must have, for people. */
  readonly needs: string;
  /** Whether this machine has it, as a command that fails otherwise. */
  readonly probe: string;
  readonly program: ExampleProgram;
}

const all: readonly Example[] = [
  {
    name: "device-shell",
    needs: "curl and OpenSSL 3",
    probe: "curl --version && openssl pkeyutl -help 2>&1 | grep -e -rawin",
    program: { command: [join(examples, "device-shell/device")], door: "http" },
  },
];

/** The example devices, by whether this machine has what they need. */
export async function exampleDevices(): Promise<{ ready: Example[]; missing: Example[] }> {
  const ready: Example[] = [];
  const missing: Example[] = [];
  for (const example of all) {
    const found = await promisify(execFile)("sh", ["-c", example.probe]).then(
      () => true,
      () => false,
    );
    (found ? ready : missing).push(example);
  }
  return { ready, missing };
}
