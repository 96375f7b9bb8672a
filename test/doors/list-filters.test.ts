import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DescMessage } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuditEventSchema } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { AlertSchema } from "../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { ErrorGroupSchema } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { FirmwareSchema } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateSchema, RolloutSchema } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { auditListFilter } from "../../src/access/audit-filter.ts";
import { alertListFilter } from "../../src/alert/alert-filter.ts";
import { errorGroupListFilter } from "../../src/crash/error-group-filter.ts";
import type { FieldKind } from "../../src/filter/filter.ts";
import type { ListFilter } from "../../src/filter/list-filter.ts";
import { firmwareListFilter } from "../../src/firmware/firmware-filter.ts";
import { deviceUpdateListFilter } from "../../src/rollout/model/device-update-filter.ts";
import { rolloutListFilter } from "../../src/rollout/model/rollout-filter.ts";
import { http, httpRefusal, newContent, publish } from "../support/door-clients.ts";
import { filterExpressions } from "../support/filter-expressions.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** The expressions by which lists are filtered. */

let service: TestService;
const ids: string[] = [];
beforeAll(async () => {
  service = await startTestService();
  for (const version of ["1.9.0", "1.10.0-rc.1", "1.10.0"]) {
    const { id } = await publish(service, newContent(1_000), { version, product: "lamp" });
    ids.push(id);
  }
});
afterAll(() => service[Symbol.asyncDispose]());

interface List {
  readonly filter: ListFilter;
  readonly message: DescMessage;
  readonly list: (filter: string) => Promise<unknown>;
}

const deviceId = randomUUID();

/** Each list with what it lists. */
const lists: Readonly<Record<string, List>> = {
  firmware: {
    filter: firmwareListFilter,
    message: FirmwareSchema,
    list: (filter) => service.client().unary(FirmwareService.method.listFirmware, { filter }),
  },
  rollouts: {
    filter: rolloutListFilter,
    message: RolloutSchema,
    list: (filter) => service.client().unary(RolloutService.method.listRollouts, { filter }),
  },
  "device updates": {
    filter: deviceUpdateListFilter,
    message: DeviceUpdateSchema,
    list: (filter) => service.client().unary(RolloutService.method.listDeviceUpdates, { deviceId, filter }),
  },
  "audit events": {
    filter: auditListFilter,
    message: AuditEventSchema,
    list: (filter) => service.client().unary(AccessService.method.listAuditEvents, { filter }),
  },
  "error groups": {
    filter: errorGroupListFilter,
    message: ErrorGroupSchema,
    list: (filter) => service.client().unary(ErrorService.method.listErrorGroups, { filter }),
  },
  alerts: {
    filter: alertListFilter,
    message: AlertSchema,
    list: (filter) => service.client().unary(AlertService.method.listAlerts, { filter }),
  },
};

/** What a field of the contract is to filters. */
function kindsOf({ fields }: DescMessage, name: string): readonly FieldKind[] {
  const field = fields.find((each) => each.name === name);
  if (field === undefined) return [];
  if (field.fieldKind === "list") return ["list"];
  if (field.fieldKind === "map") return ["text_map"];
  if (field.fieldKind === "enum") return ["choice"];
  if (field.fieldKind === "message") return field.message.typeName.endsWith("Timestamp") ? ["time"] : [];
  return field.fieldKind === "scalar" && field.scalar === 9 ? ["text", "version", "id"] : ["number", "flag"];
}

describe.each(Object.entries(lists))("the list of %s", (_, { filter, message, list }) => {
  it("has fields of the contract, by the same names", () => {
    for (const { name, kind } of filter.fields.values()) {
      expect(kindsOf(message, name), name).toContain(kind);
    }
  });

  it("has the values of each enum", () => {
    expect(filter.fields.size).toBeGreaterThan(0);
    for (const { name, prefix = "", values: choices = [] } of filter.fields.values()) {
      const field = message.fields.find((each) => each.name === name);
      if (field?.enum === undefined) continue;
      const known = field.enum.values.filter(({ number }) => number !== 0).map((value) => value.name);
      expect(choices.map((choice) => prefix + choice).toSorted()).toEqual(known.toSorted());
    }
  });

  it("can be asked each comparator of each field", async () => {
    for (const expression of filterExpressions(filter))
      expect(await list(expression)).toHaveProperty("nextPageToken");
  });

  it("is refused an expression that is wrong, with the place", async () => {
    await expect(list("no_such_field = 1")).rejects.toMatchObject({ reason: "INVALID_FILTER" });
    await expect(list(`${"(".repeat(30)}a${")".repeat(30)}`)).rejects.toMatchObject({
      reason: "INVALID_FILTER",
    });
  });
});

describe("the manual", () => {
  it("describes every field as the lists do", () => {
    const manual = readFileSync(join(import.meta.dirname, "../../docs/filters.md"), "utf8");
    const described = manual
      .split("\n")
      .filter((line) => Object.keys(lists).some((name) => line.startsWith(`| ${name} |`)));
    const rows = Object.entries(lists).flatMap(([list, { filter }]) =>
      [...filter.fields.values()].map(({ name, kind, description, values: choices = [] }) => {
        const field = kind === "text_map" ? `${name}.<name>` : name;
        const meaning = [description, choices.map((choice) => `\`${choice}\``).join(", ")].join(" ").trim();
        return `| ${list} | \`${field}\` | ${kind.replace("_", " ")} | ${meaning} |`;
      }),
    );
    expect(described).toEqual(rows);
  });
});

/** The versions that an expression finds. */
async function found(filter: string): Promise<string[]> {
  const { body } = await http(service, "GET", `/api/v1/firmware?filter=${encodeURIComponent(filter)}`, {
    token: service.adminToken,
  });
  return (body.firmware as { version: string }[]).map(({ version }) => version);
}

describe("a filter of firmware", () => {
  it.each([
    ["version < 1.10.0", ["1.10.0-rc.1", "1.9.0"]],
    ["version >= 1.10.0-rc.1 AND NOT version = 1.10.0", ["1.10.0-rc.1"]],
    ["version = 1.9.0 OR version = 1.10.0", ["1.10.0", "1.9.0"]],
    ["state = RELEASED product:LAM", ["1.10.0", "1.10.0-rc.1", "1.9.0"]],
    ["state = FIRMWARE_STATE_DRAFT", []],
    ["lamp AND create_time > ago(1h)", ["1.10.0", "1.10.0-rc.1", "1.9.0"]],
    ["create_time < ago(1h) OR metadata.none = x", []],
    ["NOT metadata.none = x AND version = 1.9.0", ["1.9.0"]],
    ['product = "x\' OR true --"', []],
  ])("%s", async (filter, versions) => {
    expect(await found(filter)).toEqual(versions);
  });

  it("goes along with the other fields, from page to page, and a token counts for no other", async () => {
    const token = service.adminToken;
    const filter = encodeURIComponent("version < 2.0.0");
    const path = `/api/v1/firmware?product=lamp&states=RELEASED&pageSize=2&filter=${filter}`;
    const { body: first } = await http(service, "GET", path, { token });
    expect(first.firmware).toHaveLength(2);
    const { body: second } = await http(service, "GET", `${path}&pageToken=${first.nextPageToken}`, {
      token,
    });
    expect(second.firmware).toHaveLength(1);
    const other = path.replace("2.0.0", "3.0.0");
    const refused = await http(service, "GET", `${other}&pageToken=${first.nextPageToken}`, { token });
    expect(httpRefusal(refused)).toMatchObject({ reason: "INVALID_PAGE_TOKEN" });
  });

  it("that is wrong is refused with the place and what was expected there", async () => {
    const { status, body } = await http(service, "GET", "/api/v1/firmware?filter=state%20%3D%20NOPE", {
      token: service.adminToken,
    });
    expect(status).toBe(400);
    expect(body.message).toBe(
      'filter: at character 9: expected one of DRAFT, UPLOADED, RELEASED, found "NOPE"',
    );
    expect(body.details[0]).toMatchObject({ reason: "INVALID_FILTER", metadata: { position: "9" } });
  });
});
