import { type DescMessage, type DescMethod, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { access as accessOption } from "../../../gen/ota/v1/method_access_pb.js";
import type { Role } from "../../call/identity.ts";
import { fromWireRole } from "../../call/wire-role.ts";

/** Who may call something. Nothing is allowed that is not named here. */
export interface AccessRule<Request> {
  /** Callable without a credential. */
  readonly public?: true;
  /** The least role with which operators may call. */
  readonly role?: Role;
  /**
   * Devices may call. A function returns the device id that the request names, or undefined if it names none; the
   * pipeline refuses a device that names another one.
   */
  readonly device?: true | ((request: Request) => string | undefined);
}

/** Who may call a method, as its option in the contract says; nobody if it has none. */
export function accessRuleOf(method: DescMethod): AccessRule<never> {
  if (!hasOption(method, accessOption)) return {};
  const { role: wireRole, device, deviceField, enrolmentKey } = getOption(method, accessOption);
  const role = fromWireRole(wireRole);
  return {
    // The handler asks for the key.
    ...(enrolmentKey ? { public: true } : {}),
    ...(role === undefined ? {} : { role }),
    ...(device ? { device: deviceField === "" ? true : textReader(method.input, deviceField) } : {}),
  };
}

/**
 * Reads a text from messages of a type by the path of its field, as the contract names them. Undefined where it is empty or lies in
 * a message that is not set. Throws for a path that the type does not have.
 */
export function textReader(type: DescMessage, path: string): (message: Message) => string | undefined {
  const [name = "", ...rest] = path.split(".");
  const field = type.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`${type.typeName} has no field ${name}`);
  const { localName, oneof } = field;
  const read =
    oneof === undefined
      ? (message: Message) => (message as unknown as Record<string, unknown>)[localName]
      : (message: Message) => {
          const set = (message as unknown as Record<string, OneofValue>)[oneof.localName];
          return set?.case === localName ? set.value : undefined;
        };
  if (rest.length === 0) return (message) => (read(message) as string | undefined) || undefined;
  if (field.fieldKind !== "message") throw new Error(`${type.typeName}.${name} is no message`);
  const readRest = textReader(field.message, rest.join("."));
  return (message) => {
    const inner = read(message) as Message | undefined;
    return inner === undefined ? undefined : readRest(inner);
  };
}

interface OneofValue {
  readonly case: string | undefined;
  readonly value?: unknown;
}
