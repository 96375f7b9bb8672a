import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { type ExampleProgram, examples } from "./example-device.ts";

/** A whole program of the folder `examples`. */
export interface Example {
  readonly name: string;
  /** What a machine must have, for people. */
  readonly needs: string;
  /** Whether this machine has it, as a command that fails otherwise. */
  readonly probe: string;
  /** Run once before, with a folder for what it makes, if it has to be built. */
  readonly build?: string;
}

export interface DeviceExample extends Example {
  readonly program: ExampleProgram;
  /** Right manifests of docs/vectors that it refuses all the same. */
  readonly cannotRead: readonly string[];
  /** Signatures of docs/vectors that it takes too: right ones, in another encoding or with another salt. */
  readonly takesToo?: readonly string[];
}

export interface ServiceExample extends Example {
  /** The simple command of a shell that starts it, with the folder of what was built in `BUILT`. */
  readonly command: string;
}

/** None of the examples has applications beside its firmware. */
const noApplications = ["an application"];

/** Another Python may come first on the PATH and lacks Debian's packages. */
const debianPython = "/usr/bin/python3";

/** The examples' folders stay as they are. */
const python = `PYTHONDONTWRITEBYTECODE=1 ${debianPython}`;

const debianGo = {
  needs:
    "Debian's golang-go, golang-google-grpc-dev, golang-github-golang-protobuf-1-5-dev, protoc-gen-go-1-5, protoc-gen-go-grpc, protobuf-compiler and libprotobuf-dev",
  probe: `for tool in protoc protoc-gen-go protoc-gen-go-grpc; do command -v $tool || exit; done &&
    cd /usr/share/gocode/src/google.golang.org && ls grpc protobuf /usr/lib/go/bin/go /usr/include/google/protobuf/descriptor.proto`,
};

/** Debian's jars that the service in Java stands on. */
const jackson = ["core", "databind", "annotations"].map((part) => `/usr/share/java/jackson-${part}.jar`);

export const exampleDevices: readonly DeviceExample[] = [
  {
    name: "device-shell",
    needs: "curl and OpenSSL 3",
    probe: "curl --version && openssl pkeyutl -help 2>&1 | grep -e -rawin",
    program: {
      command: join(examples, "device-shell/device"),
      verify: join(examples, "device-shell/manifest"),
      door: "http",
    },
    // It reads manifests line by line, as `device-ota` writes them.
    cannotRead: [...noApplications, "other blanks and another order of members"],
  },
  {
    name: "device-c",
    needs: "Debian's gcc, libcurl4-openssl-dev, libcjson-dev and libssl-dev",
    probe: `printf '#include <%s>\\n' curl/curl.h cjson/cJSON.h openssl/evp.h | cc -E -o /dev/null -`,
    build: join(examples, "device-c/build"),
    program: {
      command: `"$BUILT"/device`,
      verify: `"$BUILT"/device verify`,
      door: "http",
    },
    cannotRead: noApplications,
  },
  {
    name: "device-node",
    needs: "npm's registry or cache",
    probe: "npm --version",
    build: join(examples, "device-node/install"),
    program: {
      command: `node "$BUILT"/device.ts`,
      verify: `node "$BUILT"/manifest.ts`,
      door: "grpc",
    },
    // The agent takes applications.
    cannotRead: [],
    takesToo: ["r || s", "without a salt", "with the longest salt"],
  },
  {
    name: "device-python",
    needs:
      "Debian's python3-grpcio, python3-cryptography, protobuf-compiler, protobuf-compiler-grpc and libprotobuf-dev",
    probe: `${debianPython} -c 'import grpc, cryptography, google.protobuf' &&
      command -v protoc && command -v grpc_python_plugin && ls /usr/include/google/protobuf/descriptor.proto`,
    build: join(examples, "device-python/generate"),
    program: {
      command: `PYTHONPATH="$BUILT" ${python} ${join(examples, "device-python/device.py")}`,
      verify: `${python} ${join(examples, "device-python/manifest.py")}`,
      door: "grpc",
    },
    cannotRead: noApplications,
  },
  {
    name: "device-go",
    ...debianGo,
    build: join(examples, "device-go/build"),
    program: {
      command: `"$BUILT"/device`,
      verify: `"$BUILT"/device verify`,
      door: "grpc",
    },
    cannotRead: noApplications,
  },
];

export const exampleServices: readonly ServiceExample[] = [
  {
    name: "service-go",
    ...debianGo,
    build: join(examples, "service-go/build"),
    command: `"$BUILT"/dashboard`,
  },
  {
    name: "service-java",
    needs: "Debian's default-jdk-headless and libjackson2-databind-java",
    probe: `javac -version && ls ${jackson.join(" ")}`,
    build: join(examples, "service-java/build"),
    // A run is over before much of it is worth compiling.
    command: `java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$BUILT":${jackson.join(":")} ChangeFreeze`,
  },
];

/** Examples by whether a machine with this `PATH` has what they need. */
export async function byToolchain<T extends Example>(
  all: readonly T[],
  path = process.env["PATH"],
): Promise<{ ready: T[]; missing: T[] }> {
  const ready: T[] = [];
  const missing: T[] = [];
  for (const example of all) {
    const found = await promisify(execFile)("/bin/sh", ["-c", example.probe], { env: { PATH: path } }).then(
      () => true,
      () => false,
    );
    (found ? ready : missing).push(example);
  }
  return { ready, missing };
}
