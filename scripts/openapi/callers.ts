import {
  type DescExtension,
  type DescMethod,
  type FileRegistry,
  getOption,
  hasOption,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import type { MethodAccess } from "../../gen/ota/v1/method_access_pb.js";
import type { Operation } from "./document.ts";

/** What `ota.v1.access` says of who may call, in the words of OpenAPI. */
export type Callers = Pick<Operation, "security" | "x-roles" | "x-scope">;

/** Reads who may call the methods of a contract. */
export class CallerReader {
  readonly #registry: FileRegistry;
  readonly #option: DescExtension;

  constructor(registry: FileRegistry) {
    this.#registry = registry;
    this.#option = extensionNamed(registry, "ota.v1.access");
  }

  /** Throws for a method that nobody may call. */
  callersOf(method: DescMethod): Callers {
    if (!hasOption(method, this.#option)) throw new Error(`nobody may call ${method.name}`);
    const { role, device, enrolmentKey, scope } = getOption(method, this.#option) as MethodAccess;
    if (enrolmentKey) return anybody;
    return {
      security: [
        ...(role === 0 ? [] : [{ operator: [] }]),
        ...(device ? [{ device: [] }, { deviceCertificate: [] }] : []),
      ],
      "x-roles": [...(device ? ["device"] : []), ...(role === 0 ? [] : roles.slice(role - 1))],
      ...(scope === undefined ? {} : { "x-scope": this.#json(scope) }),
    };
  }

  #json(message: Message) {
    const schema = this.#registry.getMessage(message.$typeName);
    return schema === undefined ? undefined : toJson(schema, message);
  }
}

/** Who may call what needs no credential. */
export const anybody: Callers = { security: [], "x-roles": [] };

/** The kinds of credentials, as OpenAPI's security schemes. */
export const securitySchemes = {
  operator: {
    type: "http",
    scheme: "bearer",
    description:
      "An operator's token, or an access token of the OpenID Connect issuer. `x-roles` says which roles may call.",
  },
  device: {
    type: "http",
    scheme: "bearer",
    description: "A device's token, or a JWT that it has signed with its own key.",
  },
  deviceCertificate: {
    type: "mutualTLS",
    description: "A device's certificate, where the service takes them.",
  },
} as const;

/** By `ota.v1.Role`, the least first. */
const roles = ["viewer", "operator", "admin"];

/** An option of the contract, by its full name. */
export function extensionNamed(registry: FileRegistry, name: string): DescExtension {
  const found = registry.getExtension(name);
  if (found === undefined) throw new Error(`there is no option ${name}`);
  return found;
}
