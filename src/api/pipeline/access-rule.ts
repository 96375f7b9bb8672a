import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { access as accessOption, type MethodScope } from "../../../gen/ota/v1/method_access_pb.js";
import type { Role } from "../../call/identity.ts";
import { fromWireRole } from "../../call/wire-role.ts";
import { textsReader } from "./field-path.ts";

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
  /** How calls with a token that is limited to products or devices are held against its limits; without it they are refused. */
  readonly scope?: MethodScope | undefined;
}

/** Who may call a method, as its option in the contract says; nobody if it has none. */
export function accessRuleOf(method: DescMethod): AccessRule<never> {
  if (!hasOption(method, accessOption)) return {};
  const { role: wireRole, device, deviceField, enrolmentKey, scope } = getOption(method, accessOption);
  const role = fromWireRole(wireRole);
  return {
    // The handler asks for the key.
    ...(enrolmentKey ? { public: true } : {}),
    ...(role === undefined ? {} : { role }),
    ...(device ? { device: deviceField === "" ? true : deviceReader(method, deviceField) } : {}),
    ...(scope === undefined ? {} : { scope }),
  };
}

function deviceReader(method: DescMethod, path: string) {
  const read = textsReader(method.input, path);
  return (request: never) => read(request)[0];
}
