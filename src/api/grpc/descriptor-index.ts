import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/** Finds the proto files behind the services, as server reflection asks for them. */
export class DescriptorIndex {
  /** Full names of the services, sorted. */
  readonly serviceNames: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  /** Extensions by the message that they extend, then by number. */
  readonly #extensions = new Map<string, Map<number, DescFile>>();
  readonly #encoded = new Map<DescFile, Uint8Array>();

  /** `files`: what no service names, but clients want to read all the same. */
  constructor(services: readonly DescService[], files: readonly DescFile[] = []) {
    this.serviceNames = services.map(({ typeName }) => typeName).toSorted();
    for (const service of services) this.#add(service.file);
    for (const file of files) this.#add(file);
  }

  /** A file with everything that it imports, the imported ones last; undefined for an unknown name. */
  byFileName(name: string): Uint8Array[] | undefined {
    return this.#withImports(this.#files.get(withSuffix(name)));
  }

  /** The file that declares a service, method, message, enum, field or extension. */
  bySymbol(symbol: string): Uint8Array[] | undefined {
    return this.#withImports(this.#symbols.get(symbol));
  }

  /** The file that declares an extension. */
  byExtension(message: string, number: number): Uint8Array[] | undefined {
    return this.#withImports(this.#extensions.get(message)?.get(number));
  }

  /** The numbers of all extensions of a message; undefined if the message is unknown. */
  extensionNumbers(message: string): number[] | undefined {
    const numbers = this.#extensions.get(message);
    if (numbers === undefined) return this.#symbols.has(message) ? [] : undefined;
    return [...numbers.keys()];
  }

  #add(file: DescFile): void {
    const name = fileName(file);
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      if (type.kind === "service") {
        for (const method of type.methods) this.#symbols.set(`${type.typeName}.${method.name}`, file);
      } else if (type.kind === "message") {
        for (const field of type.fields) this.#symbols.set(`${type.typeName}.${field.name}`, file);
      } else if (type.kind === "extension") {
        const extended = type.extendee.typeName;
        const numbers = this.#extensions.get(extended) ?? new Map<number, DescFile>();
        this.#extensions.set(extended, numbers.set(type.number, file));
      }
    }
    for (const imported of file.dependencies) this.#add(imported);
  }

  #withImports(file: DescFile | undefined): Uint8Array[] | undefined {
    if (file === undefined) return undefined;
    const found = new Set([file]);
    // A Set visits what is added while it is walked.
    for (const each of found) for (const imported of each.dependencies) found.add(imported);
    return [...found].map((each) => this.#encode(each));
  }

  #encode(file: DescFile): Uint8Array {
    let bytes = this.#encoded.get(file);
    if (bytes === undefined) {
      bytes = toBinary(FileDescriptorProtoSchema, file.proto);
      this.#encoded.set(file, bytes);
    }
    return bytes;
  }
}

/** protobuf-es drops the suffix from a file's name. */
function fileName(file: DescFile): string {
  return withSuffix(file.name);
}

function withSuffix(name: string): string {
  return name.endsWith(".proto") ? name : `${name}.proto`;
}
