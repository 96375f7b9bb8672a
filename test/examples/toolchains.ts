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

/** Another Python may come first on the PATH and lacks Debian's packages. */
const debianPython = "/usr/bin/python3";

const all: readonly Example[] = [
  {
    name: "device-shell",
    needs: "curl and OpenSSL 3",
    probe: "curl --version && openssl pkeyutl -help 2>&1 | grep -e -rawin",
    program: { command: join(examples, "device-shell/device"), door: "http" },
  },
  {
    name: "device-python",
    needs:
      "Debian's python3-grpcio, python3-cryptography, protobuf-compiler, protobuf-compiler-grpc and libprotobuf-dev",
    probe: `${debianPython} -c 'import grpc, cryptography, google.protobuf' &&
      command -v protoc grpc_python_plugin && ls /usr/include/google/protobuf/descriptor.proto`,
    program: {
      build: join(examples, "device-python/generate"),
      command: `PYTHONPATH="$BUILT" ${debianPython} ${join(examples, "device-python/device.py")}`,
      door: "grpc",
    },
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
