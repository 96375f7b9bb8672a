import { AuditLog } from "../../src/access/audit-log.ts";
import { ErrorCollector, type ErrorCollectorParts } from "../../src/crash/error-collector.ts";
import { ErrorGroups } from "../../src/crash/error-groups.ts";
import { GroupMerges } from "../../src/crash/group-merges.ts";
import { GroupingRules } from "../../src/crash/grouping-rules.ts";
import type { DeviceError } from "../../src/device/state/heartbeat-record.ts";
import { entities } from "../../src/entities.ts";
import { Database } from "../../src/infra/database/database.ts";
import { type IngestFixture, ingestOn, record, silent } from "../heartbeat/heartbeat-fixture.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { createTestDatabase } from "../support/postgres.ts";

/** A replica that takes heartbeats in and collects their errors when the test says so. */
export interface CrashReplica extends AsyncDisposable {
  readonly url: string;
  readonly database: Database;
  readonly ingested: IngestFixture;
  readonly groups: ErrorGroups;
  readonly merges: GroupMerges;
  readonly rules: GroupingRules;
  readonly collector: ErrorCollector;
  readonly clock: FakeClock;
}

/** A replica on a database of its own, or on another's. */
export async function startCrashes(
  options: { readonly url?: string; readonly collector?: Partial<ErrorCollectorParts> } = {},
): Promise<CrashReplica> {
  await using opened = new AsyncDisposableStack();
  const url = options.url ?? opened.use(await createTestDatabase()).url;
  const database = opened.use(await Database.connect({ url, logger: silent, entities }));
  const clock = new FakeClock(new Date());
  const ingested = opened.use(await ingestOn(url));
  const audit = new AuditLog({ database });
  const collector = opened.use(
    new ErrorCollector({ database, audit, clock, logger: silent, retentionDays: 30, ...options.collector }),
  );
  const owned = opened.move();
  return {
    url,
    database,
    ingested,
    groups: new ErrorGroups({ database, audit, clock }),
    merges: new GroupMerges({ database, audit }),
    rules: new GroupingRules({ database, audit }),
    collector,
    clock,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Stores a heartbeat with errors, as a device sends it. */
export async function report(
  { ingested }: CrashReplica,
  deviceId: string,
  sequence: number,
  errors: readonly DeviceError[],
  more: Parameters<typeof record>[2] = {},
): Promise<void> {
  await ingested.ingest.submit({
    deviceId,
    epoch: 1,
    records: [record(deviceId, sequence, { errors, ...more })],
    signal: new AbortController().signal,
  });
}

/** A crash with a stack, of the function `name`. */
export function crash(name = "read_sensor", more: Partial<DeviceError> = {}): DeviceError {
  return {
    code: "SIGSEGV",
    severity: "CRITICAL",
    message: "segmentation fault",
    stack: `#0  0x00005555555551e6 in ${name} (s=0x7ffe) at sensor.c:9\n#1  0x0000555555555201 in main () at main.c:10`,
    fatal: true,
    ...more,
  };
}
