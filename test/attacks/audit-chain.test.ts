import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { AuditFaultKind, type AuditPlace, Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { AuditChain } from "../../src/access/audit-chain.ts";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { Pool } from "../../src/infra/database/pool.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { http, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { runCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody may change every row of the database, and wants the audit log to tell another story. */

const { createToken, listTokens, revokeToken, verifyAuditLog, listAuditEvents } = AccessService.method;

let service: TestService;
let admin: RpcClient;
/** As superuser, without triggers: nothing refuses anything. */
let attacker: pg.Client;
/** What the log was told. */
const lines: { event?: string; sequence?: number; hash?: string }[] = [];

beforeAll(async () => {
  service = await startTestService();
  admin = service.client();
  for (const name of ["alice", "bob", "=cmd|'/c calc'!A1", "dora"])
    await admin.unary(createToken, { name, role: Role.VIEWER });
  const { tokens } = await admin.unary(listTokens, {});
  const bob = tokens.find(({ name }) => name === "bob")?.id ?? "";
  await admin.unary(revokeToken, { id: bob, reason: '=1+1, "2"' });
  await whenLinked();
  const pool = new pg.Pool({ connectionString: service.databaseUrl });
  const chain = new AuditChain({
    database: { pool: new Pool(pool) },
    clock: systemClock,
    logger: createLogger({
      level: "info",
      pretty: false,
      destination: { write: (line) => void lines.push(JSON.parse(line) as object) },
    }),
    anchorEveryMs: 60_000,
  });
  await chain.round.run();
  await chain.round.close();
  await pool.end();
  attacker = new pg.Client({ connectionString: service.databaseUrl });
  await attacker.connect();
  await attacker.query(`SET session_replication_role = replica;
    CREATE TEMP TABLE kept_events AS TABLE audit_events; CREATE TEMP TABLE kept_links AS TABLE audit_links`);
});

afterEach(async () => {
  await attacker.query(`DELETE FROM audit_events; INSERT INTO audit_events TABLE kept_events;
    DELETE FROM audit_links; INSERT INTO audit_links TABLE kept_links; DELETE FROM unlinked_audit_events`);
});

afterAll(async () => {
  await attacker.end();
  await service[Symbol.asyncDispose]();
});

/** What is known outside: the anchor that the log was told. */
function anchor(): { sequence: bigint; hash: string } {
  const line = lines.find(({ event }) => event === "audit.anchor");
  return { sequence: BigInt(line?.sequence ?? 0), hash: line?.hash ?? "" };
}

async function whenLinked(): Promise<AuditPlace | undefined> {
  return await eventually(async () => {
    const { events } = await admin.unary(listAuditEvents, { pageSize: 1000 });
    const { through, complete } = await admin.unary(verifyAuditLog, {});
    expect([complete, through?.sequence]).toEqual([true, BigInt(events.length)]);
    return through;
  });
}

describe("the audit log", () => {
  it("is whole as long as nobody touches it, by every door, in steps and to the anchor in the log", async () => {
    const answer = await admin.unary(verifyAuditLog, { anchors: [anchor()] });
    expect(answer).toMatchObject({
      complete: true,
      through: anchor(),
      checkedCount: Number(anchor().sequence),
    });
    expect(answer.fault).toBeUndefined();
    const after = await admin.unary(verifyAuditLog, { after: anchor() });
    expect(after).toMatchObject({ complete: true, checkedCount: 0 });
    const rest = await http(service, "POST", "/api/v1/audit:verify", { token: service.adminToken, body: {} });
    expect(rest).toMatchObject({ status: 200 });
    expect(
      await refusal(admin.unary(verifyAuditLog, { anchors: [{ sequence: 0n, hash: "x" }] })),
    ).toBeDefined();
  });

  const { LINK_MISSING, EVENT_MISSING, CHANGED, NOT_LINKED, ANCHOR_DIFFERS, CUT_OFF } = AuditFaultKind;
  const third = "(SELECT event_id FROM audit_links WHERE sequence = 3)";
  const columns = ["actor", "action", "resource_type", "resource_id", "reason", "address", "request_id"];
  const dropEnd = `DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_links WHERE sequence > 3);
    DELETE FROM audit_links WHERE sequence > 3`;

  it.each([
    ...columns.map((name) => [
      `another ${name}`,
      `UPDATE audit_events SET ${name} = 'x' WHERE id = ${third}`,
      CHANGED,
    ]),
    [
      "another time",
      `UPDATE audit_events SET occurred_at = occurred_at + interval '1 microsecond' WHERE id = ${third}`,
      CHANGED,
    ],
    [
      "another detail",
      `UPDATE audit_events SET details = details || '{"x": "y"}' WHERE id = ${third}`,
      CHANGED,
    ],
    ["another hash", "UPDATE audit_links SET hash = sha256('x') WHERE sequence = 3", CHANGED],
    ["a deleted event", `DELETE FROM audit_events WHERE id = ${third}`, EVENT_MISSING],
    [
      "a deleted event with its link",
      `DELETE FROM audit_events WHERE id = ${third}; DELETE FROM audit_links WHERE sequence = 3`,
      LINK_MISSING,
    ],
    [
      "a deleted event, with the links moved up",
      `DELETE FROM audit_events WHERE id = ${third}; DELETE FROM audit_links WHERE sequence = 3;
       UPDATE audit_links SET sequence = -sequence WHERE sequence > 3; UPDATE audit_links SET sequence = -sequence - 1 WHERE sequence < 0`,
      CHANGED,
    ],
    [
      "two events that change places",
      `WITH two AS (SELECT sequence, event_id FROM audit_links WHERE sequence IN (3, 4))
       UPDATE audit_links l SET event_id = gen_random_uuid() FROM two WHERE l.sequence = two.sequence;
       UPDATE audit_links l SET event_id = k.event_id FROM kept_links k WHERE l.sequence IN (3, 4) AND k.sequence = 7 - l.sequence`,
      CHANGED,
    ],
  ] as [string, string, AuditFaultKind][])("shows %s, and where", async (_, tampering, kind) => {
    await attacker.query(tampering);
    const { fault, complete, checkedCount } = await admin.unary(verifyAuditLog, {});
    expect({ fault, complete, checkedCount }).toMatchObject({
      fault: { kind, sequence: 3n },
      complete: false,
      checkedCount: 2,
    });
  });

  it("shows an event that was put in beside the chain, or taken out before it had a link", async () => {
    const insert = `INSERT INTO audit_events (id, actor, action, resource_type, resource_id)
      VALUES ('01900000-0000-7000-8000-000000000001', 'operator:bob', 'rollout.approve', 'rollout', 'r')`;
    await attacker.query(insert);
    const stray = { sequence: 0n, eventId: "01900000-0000-7000-8000-000000000001" };
    expect((await admin.unary(verifyAuditLog, {})).fault).toMatchObject({ kind: NOT_LINKED, ...stray });
    await attacker.query("DELETE FROM audit_events WHERE action = 'rollout.approve'");
    await attacker.query(`INSERT INTO unlinked_audit_events VALUES ('${stray.eventId}')`);
    expect((await admin.unary(verifyAuditLog, {})).fault).toMatchObject({ kind: EVENT_MISSING, ...stray });
  });

  it("shows by an anchor that its end was cut off, or that the chain was made anew", async () => {
    await attacker.query(dropEnd);
    expect((await admin.unary(verifyAuditLog, {})).complete).toBe(true);
    const known = { anchors: [anchor()] };
    expect((await admin.unary(verifyAuditLog, known)).fault).toMatchObject({
      kind: CUT_OFF,
      sequence: anchor().sequence,
    });
    expect((await admin.unary(verifyAuditLog, { after: anchor() })).fault).toMatchObject({ kind: CUT_OFF });

    await attacker.query(`DELETE FROM audit_links; DELETE FROM audit_events; INSERT INTO audit_events TABLE kept_events;
      UPDATE audit_events SET actor = 'operator:bob' WHERE action = 'token.create';
      INSERT INTO unlinked_audit_events SELECT id FROM audit_events`);
    await whenLinked();
    const { sequence } = anchor();
    expect((await admin.unary(verifyAuditLog, known)).fault).toMatchObject({
      kind: ANCHOR_DIFFERS,
      sequence,
    });
    expect((await admin.unary(verifyAuditLog, { after: anchor() })).fault).toMatchObject({
      kind: ANCHOR_DIFFERS,
      sequence,
    });
  });

  it("is verified and exported by the command line", async () => {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-audit-"));
    const log = join(folder, "service.log");
    await writeFile(log, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const cli = (...args: string[]) =>
      runCli(["audit", ...args], {
        cwd: folder,
        env: { DEVICE_OTA_SERVER: service.grpcAddress, DEVICE_OTA_TOKEN: service.adminToken },
      });
    const { sequence, hash } = anchor();

    const whole = await cli("verify", "--anchors", log);
    expect(whole).toMatchObject({ exitCode: 0 });
    expect(whole.stdout).toContain(`It ends with ${sequence}:${hash}`);
    const csv = await cli("export", "--format", "csv", "--action", "token.create");
    expect(csv.stdout.split("\n")[0]).toBe(
      "time,id,actor,action,resource_type,resource_id,reason,details,address,request_id",
    );
    expect(csv.stdout.trim().split("\n")).toHaveLength(6);
    const revoked = await cli("export", "--format", "csv", "--action", "token.revoke");
    expect(revoked.stdout).toContain(`,"'=1+1, ""2""",`);
    const ndjson = await cli("export", "--resource-type", "token");
    const events = ndjson.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { action: string; details: object });
    expect(events.map(({ details }) => details)).toContainEqual(
      expect.objectContaining({ name: "=cmd|'/c calc'!A1" }),
    );

    await attacker.query(dropEnd);
    const cut = await cli("verify", "--anchor", `${sequence}:${hash}`);
    expect(cut).toMatchObject({ exitCode: 5 });
    expect(cut.stderr).toContain(`link ${sequence}, which was known, was cut off the end`);
    await rm(folder, { recursive: true, force: true });
  });
});
