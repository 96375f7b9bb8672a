import { Role as WireRole } from "../../gen/ota/v1/access_pb.js";
import type { Role } from "./identity.ts";

/** A role on the wire. */
export function wireRole(role: Role): WireRole {
  return wireRoles[role];
}

/** A role from the wire; undefined for none. */
export function fromWireRole(wire: WireRole): Role | undefined {
  return rolesOfWire.get(wire);
}

const wireRoles: Readonly<Record<Role, WireRole>> = {
  viewer: WireRole.VIEWER,
  operator: WireRole.OPERATOR,
  admin: WireRole.ADMIN,
};

const rolesOfWire = new Map(Object.entries(wireRoles).map(([role, wire]) => [wire, role as Role]));
