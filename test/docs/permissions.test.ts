import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { access as accessOption } from "../../gen/ota/v1/method_access_pb.js";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { readPage } from "./pages.ts";

it("docs/permissions.md says of every RPC who may call it, as the contract does", async () => {
  const rows = contractServices.flatMap(({ name: service, methods }) =>
    methods.map((method) => [service, `\`${method.name}\``, callers(method), limits(method)]),
  );
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const table = [
    ["service", "RPC", "who may call it", "with a token that is limited"],
    ["---", "---", "---", "---"],
    ...rows,
  ]
    .map(line)
    .join("\n");
  const page = await readPage("docs/permissions.md");
  expect(/^<!-- permissions: [^>]* -->\n(.*?)\n<!-- \/permissions -->$/ms.exec(page)?.[1]).toBe(table);
});

/** What a token with limits is held against. */
function limits(method: DescMethod): string {
  const { role, scope } = getOption(method, accessOption);
  if (role === Role.UNSPECIFIED || role === Role.ADMIN) return "";
  if (scope === undefined) return "refused";
  if (scope.nothing) return "allowed";
  const { deviceField, filterField, productField, firmwareField, otherFirmwareField, rolloutField } = scope;
  const checked = [rolloutField, firmwareField, otherFirmwareField, productField, deviceField]
    .filter((path) => path !== "")
    .map((path) => `\`${path}\` must lie within`);
  const listed = [scope.listedFirmwareField, scope.listedRolloutsField]
    .filter((path) => path !== "")
    .map((path) => `\`${path}\` has what lies within`);
  return [...checked, ...(filterField === "" ? [] : [`\`${filterField}\` is narrowed`]), ...listed].join(
    ", ",
  );
}

function callers(method: DescMethod): string {
  const { role, device, enrolmentKey } = getOption(method, accessOption);
  return [
    ...(role === Role.UNSPECIFIED ? [] : [`\`${Role[role].toLowerCase()}\``]),
    ...(device ? [role === Role.UNSPECIFIED ? "devices" : "a device of itself"] : []),
    ...(enrolmentKey ? ["who has an enrolment key"] : []),
  ].join(", ");
}
