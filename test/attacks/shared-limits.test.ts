import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { http, httpRefusal, mintToken } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { execute } from "../support/global-setup.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody has found out that there are several replicas, and goes from one to the other. */

const limit = 6;

const settings = {
  DEVICE_OTA_RATE_LIMIT_CREDENTIAL: `${limit}/hour`,
  DEVICE_OTA_RATE_LIMIT_SIGN_IN: `${limit}/hour`,
  DEVICE_OTA_RATE_LIMIT_ENROL: `${limit}/hour`,
  DEVICE_OTA_RATE_LIMIT_SHARE_MS: "50",
};

/** One call of a class that is counted over all replicas: the reason of its refusal, if it is refused. */
const tries = {
  "wrong tokens": (service: TestService) =>
    tried(service, "GET", "/api/v1/access/whoami", { token: `guess-${randomUUID()}` }),
  "tries to sign in": (service: TestService) =>
    tried(service, "POST", "/session", { body: { token: "" }, headers: { origin: service.httpUrl } }),
  enrolments: (service: TestService) => tried(service, "POST", "/api/v1/devices:enrol", { body: {} }),
};

async function tried(
  service: TestService,
  ...[method, path, options]: [string, string, object]
): Promise<string> {
  const answer = await http(service, method, path, options);
  if (answer.status === 200) return "";
  if (answer.status === 429) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  return httpRefusal(answer).reason;
}

it("limits of people and addresses hold over two replicas, and each goes on alone while they cannot tell each other", async () => {
  await using database = await createTestDatabase({ partitioned: true });
  await using first = await startTestService({ databaseUrl: database.url, settings });
  const reports = async () => {
    const rows = await query(database.url, "SELECT count(*)::int AS reports FROM rate_reports");
    return rows[0];
  };
  const { secret } = await mintToken(first, Role.VIEWER);
  const whoAmI = async () => (await http(first, "GET", "/api/v1/access/whoami", { token: secret })).status;
  expect(await whoAmI()).toBe(200);
  expect(await tries.enrolments(first)).not.toBe("RATE_LIMITED");
  await exchanges(first);
  // There is nobody to tell.
  expect(await reports()).toEqual({ reports: 0 });

  await using second = await startTestService({ databaseUrl: database.url, settings });
  for (const [what, call] of Object.entries(tries)) {
    const calls = what === "enrolments" ? 3 : 4;
    for (let each = 0; each < calls; each++) expect(await call(first), what).not.toBe("RATE_LIMITED");
  }
  await exchanges(first);
  await exchanges(second);
  for (const [what, call] of Object.entries(tries)) {
    // The first enrolment nobody else was told of: there was nobody yet.
    const left = what === "enrolments" ? 3 : 2;
    for (let each = 0; each < left; each++) expect(await call(second), what).not.toBe("RATE_LIMITED");
    expect(await call(second), what).toBe("RATE_LIMITED");
  }
  await exchanges(second);
  await exchanges(first);
  for (const [what, call] of Object.entries(tries)) expect(await call(first), what).toBe("RATE_LIMITED");
  const { reports: told } = (await reports()) as { reports: number };
  expect(told).toBeGreaterThan(0);
  // Not one for each call.
  expect(told).toBeLessThan(2 * limit * Object.keys(tries).length);

  {
    // One that starts now knows of it.
    await using third = await startTestService({ databaseUrl: database.url, settings });
    await exchanges(third);
    for (const [what, call] of Object.entries(tries)) expect(await call(third), what).toBe("RATE_LIMITED");
  }

  await execute(database.url, "ALTER TABLE rate_reports RENAME TO rate_reports_away");
  await failures(first);
  expect(await whoAmI()).toBe(200);
  for (const [what, call] of Object.entries(tries)) expect(await call(second), what).toBe("RATE_LIMITED");
});

/** Resolves when a replica has told and heard all that there was when this was called. */
function exchanges(replica: TestService): Promise<void> {
  return twiceMore(replica, "ok");
}

function failures(replica: TestService): Promise<void> {
  return twiceMore(replica, "failed");
}

async function twiceMore(replica: TestService, outcome: string): Promise<void> {
  const runs = async () => {
    const text = await (await fetch(`${replica.httpUrl}/metrics`)).text();
    const line = `device_ota_background_runs_total{work="rate_reports",outcome="${outcome}"} `;
    return Number(text.split(line)[1]?.split("\n")[0]);
  };
  const before = await runs();
  // One may have been under way.
  await eventually(async () => expect(await runs()).toBeGreaterThan(before + 1));
}
