import { expect, it } from "vitest";
import { AuditLog } from "../../src/access/audit-log.ts";
import { TufRepositories } from "../../src/firmware/repository/tuf-repositories.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { startTestService } from "../support/service.ts";
import { TufMirror } from "../support/tuf-mirror.ts";
import { inDays, TufOperator } from "../support/tuf-operator.ts";
import { connect } from "./support.ts";

it("the service signs anew what ends soon, one replica at a time, and no more than that", async () => {
  await using service = await startTestService();
  await using mirror = await TufMirror.start(service);
  const product = "lamp";
  await publish(service, newContent(100), { product, version: "1.0.0" });
  const operator = await new TufOperator(service, product).firstDay();
  const client = await mirror.client(product, operator.root);
  await using database = await connect(service.databaseUrl);
  const refresh = async (days: number) => {
    const parts = {
      database,
      audit: new AuditLog({ database }),
      clock: { ...systemClock, now: () => inDays(days) },
    };
    const lifetimes = { timestampMs: 86_400_000, snapshotMs: 7 * 86_400_000 };
    const replicas = [
      new TufRepositories({ ...parts, lifetimes }),
      new TufRepositories({ ...parts, lifetimes }),
    ];
    await Promise.all(replicas.map((replica) => replica.refresh(new AbortController().signal)));
    const newest = await replicas[0]?.get(product);
    return [newest?.get("timestamp")?.version, newest?.get("snapshot")?.version];
  };
  expect(await refresh(0.4)).toEqual([1, 1]);
  expect(await refresh(0.6)).toEqual([2, 1]);
  expect(await client.find("1.0.0", inDays(1.5))).toBeDefined();
  expect(await refresh(4)).toEqual([3, 2]);
  expect(await client.find("1.0.0", inDays(4.9))).toBeDefined();
});
